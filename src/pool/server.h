// A connection to PostgreSQL: opening and logging in, then carrying one client's requests at a time.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"
#include "model/lsn.h"
#include "netio/loop.h"
#include "pool/address.h"
#include "pool/catalog.h"
#include "pool/cluster_route.h"
#include "pool/list.h"
#include "pool/log.h"
#include "pool/message_walker.h"
#include "pool/requests.h"
#include "pool/shard.h"

namespace pgvigil::pool {

class Client;
class Server;

enum class ServerState : std::uint8_t { Login, Idle, Active, Used, Tested, BeingCanceled, Closed };
std::string_view to_string(ServerState state);  // as SHOW SERVERS says it

constexpr bool may_follow(ServerState from, ServerState to) {
  using enum ServerState;
  switch (from) {
    case Login: return to == Idle || to == Active || to == Closed;
    case Idle: return to == Active || to == Used || to == Closed;
    case Active: return to == Idle || to == Used || to == Tested || to == BeingCanceled || to == Closed;
    case Used: return to == Idle || to == Tested || to == Active || to == Closed;
    case Tested: return to == Idle || to == Used || to == Closed || to == Active;
    case BeingCanceled: return to == Idle || to == Used || to == Tested || to == Active || to == Closed;
    case Closed: return false;
  }
  return false;
}

// What receives the messages of a server connection that is linked to no client: the pooler's own requests.
class ServerListener {
 public:
  virtual void on_message(Server& server, char type, std::string_view body) = 0;

 protected:
  ~ServerListener() = default;
};

class Server final : public Listed<Server>, public netio::StreamHandler {
 public:
  using Slots = ServerSlots;
  Server(PoolShard& shard, std::uint64_t id, Slots slots);
  ~Server();

  void connect();                    // begins; ends in PoolShard::make_idle() or close()
  void connect_for(Client& client);  // a replication connection: logs in for this client alone
  // Ends it. Whoever has it linked is told the reason, too.
  void close(std::string_view reason);
  void close_with_client(std::string_view reason, const Refusal& refusal);
  // Takes itself out of the pool's count if that holds more than `least`; it is to be closed then.
  bool give_up_place_above(int least) { return slots_.pool.give_back_above(least); }
  // Ends it during login. `told_to_waiting`: the server's own error, which waiting clients get when no other connection
  // is up.
  void login_failed(const std::string& reason, const std::optional<Refusal>& told_to_waiting);

  // --- links
  void link(Waiter& owner);  // becomes Active
  void set_client(Client* client) { client_ = client; }
  void hand_to(Waiter& owner);  // linked already, to another part of the same client
  void unlink();
  // The client has completed a message: a transaction that had ended before gives the connection back now.
  void release_behind_message() {
    if (release_due_) release_if_due();
  }
  void release_after_this() { release_due_ = true; }  // by its listener, from on_message()
  [[nodiscard]] Waiter* owner() const { return owner_; }
  [[nodiscard]] Client* client() const { return client_; }
  void pause_for_client();  // its socket is full
  void resume_for_client();
  void set_listener(ServerListener* listener) { listener_ = listener; }  // of a look-up that owns this connection

  // --- requests
  void send(const netio::Slice& slice) { stream_->send(slice); }
  void send(std::string_view bytes) { stream_->send(bytes); }
  Requests& requests() { return requests_; }
  // A reply that is made up when its turn comes. It leaves together with the server's next one, in one packet to the
  // client; answer_fakes() sends it where the client's piece of the stream has asked the server for nothing else.
  void fake(char request_type);
  void answer_fakes() {
    if (!requests_.empty() && fakes_only()) emit_fakes();
  }
  // Runs a simple query of our own; the state is Tested until its ReadyForQuery.
  void run_internal_query(std::string_view sql);
  // SET commands before a client's request; on_parameters_set() of the client follows.
  void restore_parameters(std::string_view sql);

  // --- facts
  [[nodiscard]] ServerState state() const { return state_; }
  void set_state(ServerState state);  // moves it to the shard's list of that state
  [[nodiscard]] PoolShard& shard() const { return *shard_; }
  [[nodiscard]] std::uint64_t id() const { return id_; }
  [[nodiscard]] char transaction_status() const { return status_; }
  [[nodiscard]] bool close_needed() const {
    return close_needed_ || generation_ != shard_->pool.generation.load(std::memory_order_relaxed) || fenced();
  }
  // It was opened to a leader whose reign is over: no query may go out on it.
  [[nodiscard]] bool fenced() const { return fence_ != nullptr && fence_->load(std::memory_order_relaxed) != reign_; }
  [[nodiscard]] bool of_leader() const { return fence_ != nullptr; }
  [[nodiscard]] bool in_transaction() const { return status_ != 'I' || !quiet(); }
  [[nodiscard]] Lsn replayed() const { return replayed_; }  // at least; of a replica that was asked
  void note_replayed(Lsn position) { replayed_ = std::max(replayed_, position); }
  [[nodiscard]] const RouteTarget* target() const { return target_.get(); }  // null: not of a cluster
  [[nodiscard]] int member_load() const { return load_ == nullptr ? 0 : load_->active.load(std::memory_order_relaxed); }
  void mark_close_needed() { close_needed_ = true; }
  [[nodiscard]] bool dirty() const { return dirty_; }
  [[nodiscard]] bool restoring() const { return restoring_; }
  [[nodiscard]] bool repeat_due() const { return repeat_due_; }
  void hide_one_description(bool hide) { hide_description_ = hide; }
  [[nodiscard]] bool replication() const { return replication_; }
  [[nodiscard]] bool in_copy_in() const { return copy_ == Copy::In || copy_ == Copy::Both; }
  [[nodiscard]] TimePoint connected_at() const { return connected_at_; }
  [[nodiscard]] TimePoint last_activity() const { return last_activity_; }
  [[nodiscard]] const Address& address() const { return address_; }
  [[nodiscard]] const std::string& cancel_key() const { return cancel_key_; }
  [[nodiscard]] const ParameterSetPtr& parameters() const { return parameters_; }
  void set_parameters(ParameterSetPtr parameters) { parameters_ = std::move(parameters); }
  [[nodiscard]] netio::Stream* stream() const { return stream_.get(); }
  ServerStatements& statements();
  [[nodiscard]] std::size_t statement_count() const { return statements_ ? statements_->size() : 0; }
  [[nodiscard]] bool quiet() const { return requests_.empty() && !walker_.inside_message(); }
  // Quiet but for replies that are to be made up.
  [[nodiscard]] bool fakes_only() const;
  [[nodiscard]] std::string log_name() const;

  // Cancel requests on their way to it: it is not handed out until they have arrived.
  std::vector<class CancelDelivery*> cancels;

  // --- moving to another worker
  void leave(std::function<void()> done);  // from the old one's thread: stops receiving
  void enter(PoolShard& shard);            // on the new one's thread

  // --- netio::StreamHandler
  void on_received(netio::Slice bytes) override;
  void on_end(int error) override;
  void on_room() override;
  void on_tls() override;

 private:
  friend class ServerLogin;
  enum class Copy : std::uint8_t { None, In, Out, Both };
  struct FromServer;

  void replies(const netio::Slice& bytes);
  void shut(std::string_view reason, bool goodbye, Level level = Level::Log);
  void route_to(const RouteTarget& target, std::uint64_t reign);
  void count_active(bool active);
  Verdict on_own_reply(char type, std::uint32_t body, std::string_view begin);
  Verdict on_linked_reply(char type, std::uint32_t body, std::string_view begin);
  void note_tag(std::string_view tag);
  void release_if_due();
  Verdict on_reply(char type, std::uint32_t body, std::string_view begin);
  bool on_whole_reply(char type, std::string_view body);
  void on_ready(char status);
  void on_error_reply();
  bool plan_is_void(std::string_view error) const;
  bool confirm(char request_type);  // true: the reply is the client's
  void forget(Request& request, bool confirmed);
  void drop_until_sync();
  void copy_ended(bool failed);
  void emit_fakes();
  void own_query_done();
  void note_parameter(std::string_view name, std::string_view value);
  void logged_in(ParameterSetPtr parameters, std::string cancel_key);

  PoolShard* shard_;
  std::uint64_t id_;
  Slots slots_;
  netio::StreamPtr stream_;
  netio::Detached detached_;
  std::unique_ptr<class ServerLogin> login_;  // only while logging in
  Waiter* owner_ = nullptr;
  Client* client_ = nullptr;
  ServerListener* listener_ = nullptr;
  Requests requests_;
  std::unique_ptr<ServerStatements> statements_;
  ParameterSetPtr parameters_;
  MessageWalker walker_;
  std::string cancel_key_;
  Address address_;
  TimePoint connected_at_, last_activity_;
  std::uint64_t generation_;
  // Of a member of the cluster, else null: where it goes, and the reign of the leader that it was opened under.
  std::unique_ptr<RouteTarget> target_;
  MemberLoad* load_ = nullptr;
  const std::atomic<std::uint64_t>* fence_ = nullptr;  // only to the leader
  std::uint64_t reign_ = 0;
  // Of this connection, not of the member: a replica that is started again may have replayed less than before.
  Lsn replayed_;
  bool counted_active_ = false;
  ServerState state_ = ServerState::Login;
  Copy copy_ = Copy::None;
  char status_ = 'I';
  bool close_needed_ = false;
  bool dirty_ = false;
  bool restoring_ = false;
  bool restore_failed_ = false;
  bool paused_by_client_ = false;
  bool own_query_ = false;       // a reset or check query is running
  bool own_query_done_ = false;  // ... and its ReadyForQuery was in the piece of the stream that is being walked
  bool replication_ = false;
  bool release_due_ = false;  // the transaction's end is in the piece of the stream that is being walked
  bool repeat_due_ = false;   // the batch is sent again after its ReadyForQuery, which stays unseen
  bool hide_description_ = false;
  bool schema_changed_ = false;  // by the transaction under way
  bool in_error_ = false;        // the server skips messages until Sync
};

}  // namespace pgvigil::pool
