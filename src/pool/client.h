// A client's session: startup and login (client_login.h), then its messages to whichever server connection it has.
// Small on purpose: 10,000 of them are idle most of the time. What only a login needs lives in ClientLogin and goes.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/time.h"
#include "netio/loop.h"
#include "pool/address.h"
#include "pool/catalog.h"
#include "pool/list.h"
#include "pool/message_walker.h"
#include "pool/requests.h"
#include "pool/session_parameters.h"
#include "pool/shard.h"
#include "pool/statements.h"

namespace pgvigil::pool {

class CausalReads;
class ClientLogin;
class Server;
class Worker;

// Where a client comes from, in few bytes.
struct ClientAddress {
  poolcfg::PeerAddress address;
  std::uint16_t port = 0;
  int pid = 0;  // Unix sockets: the peer's process
  unsigned uid = 0;
  [[nodiscard]] std::string ip() const;
  [[nodiscard]] std::string text() const;  // ip:port, unix(pid):port
};

// The startup values that a replication connection passes on to its own server connection.
struct ReplicationStart {
  bool logical = false;
  std::string value;    // of `replication`
  std::string options;  // verbatim
};

class Client final : public Waiter, public Listed<Client>, public netio::StreamHandler {
 public:
  enum class State : std::uint8_t { Login, Ready, Waiting, Restoring, Closed };

  Client(Worker& worker, std::uint64_t id, int fd, ClientAddress address, std::uint16_t listen_port);
  ~Client();

  // Ends the session. With a text: the client is told FATAL and the text first.
  void close(std::string_view reason);
  void refuse(const Refusal& refusal);
  void refuse(std::string_view message) { refuse(Refusal{"08P01", std::string(message)}); }

  // --- from its server connection
  void forward(const netio::Slice& slice);
  void forward(std::string_view bytes);
  void requests_done(char transaction_status);  // ReadyForQuery, and nothing is outstanding
  void parameters_restored(bool worked);
  // The batch under way used a plan that a change of the schema has made void, and can be sent again unseen: nothing
  // but made-up replies has reached the client.
  [[nodiscard]] bool can_repeat_batch() const;
  void repeat_batch();
  void reply_forwarded(char type);
  void parameter_reported(std::size_t index, std::string_view value);
  void statements_discarded();  // DISCARD ALL, DEALLOCATE ALL
  void parse_failed(const Statement& statement);
  void server_released();  // it is being given back
  void server_has_room();
  void read_on();                                                 // after SUSPEND, unless something else still holds it
  void replication_ready(std::string_view untracked_parameters);  // its own server connection has logged in

  void take_server();     // it waits already: asks for a server connection again
  CausalReads& causal();  // made on first use

  // --- Waiter
  void on_server(Server& server) override;
  void on_refused(const Refusal& refusal) override;
  void on_server_lost(const Refusal& refusal, bool unsent) override;
  void on_welcome() override;
  void on_long_wait() override;

  // --- netio::StreamHandler
  void on_received(netio::Slice bytes) override;
  void on_end(int error) override;
  void on_room() override;
  void on_tls() override;

  // --- MessageWalker's sink towards the server
  Verdict on_header(char type, std::uint32_t body, std::string_view begin);
  bool on_whole(char type, std::string_view body);
  void on_malformed(std::string_view header);
  [[nodiscard]] std::uint32_t message_bytes_max() const;
  struct ToServer;  // the sink: forwards to the linked server connection

  // --- facts, for limits, timeouts and the console
  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] ClientLogin* login() const { return login_.get(); }  // null: logged in
  [[nodiscard]] std::uint64_t id() const { return id_; }
  [[nodiscard]] Worker& worker() const { return worker_; }
  [[nodiscard]] PoolShard* shard() const { return shard_; }
  [[nodiscard]] Server* server() const { return server_; }
  [[nodiscard]] bool forwarding() const { return walker_.forwarding(); }  // the server has a part of a message
  [[nodiscard]] User* user() const { return user_; }
  [[nodiscard]] Database* database() const { return database_; }
  [[nodiscard]] const ClientAddress& address() const { return address_; }
  [[nodiscard]] std::uint64_t cancel_key() const { return cancel_key_; }
  [[nodiscard]] netio::Stream* stream() const { return stream_.get(); }
  [[nodiscard]] const ParameterSetPtr& parameters() const { return parameters_; }
  [[nodiscard]] TimePoint connected_at() const { return connected_at_; }
  [[nodiscard]] TimePoint last_activity() const { return last_activity_; }
  [[nodiscard]] TimePoint query_started() const { return query_running_ ? request_started : TimePoint(); }
  [[nodiscard]] TimePoint transaction_started() const {
    return transaction_running_ ? transaction_started_ : TimePoint();
  }
  [[nodiscard]] const ReplicationStart* replication() const { return replication_.get(); }
  [[nodiscard]] std::size_t statement_count() const { return statements_ ? statements_->size() : 0; }
  [[nodiscard]] std::string log_name() const;
  [[nodiscard]] std::string database_name() const;
  [[nodiscard]] std::string user_name() const;
  [[nodiscard]] std::uint16_t listen_port() const { return listen_port_; }

  void set_close_reason_silent() { silent_ = true; }

 private:
  friend class ClientLogin;
  friend class Console;

  // Login succeeded: the session belongs to a pool.
  void enter_pool(PoolShard& shard);
  void to_list_of_logged_in();
  bool count_in_limits();  // false: refused
  void leave_pool();
  void process(netio::Slice bytes);
  void process_held();
  void wait_with(std::string_view more);
  [[nodiscard]] bool leaves_in_held() const;
  bool acquire();  // true: a server is linked and its session is ours
  bool linked_and_ready(Server& server);
  void release_server_at_close();
  void request_begins();
  void push(char type, Answer answer = Answer::Forward, StatementPtr statement = nullptr);
  void to_server(std::string_view bytes);
  void record(std::string_view bytes);
  Verdict tracked_header(char type, std::uint32_t body, std::string_view begin);
  Verdict bind_header(std::uint32_t body, std::string_view begin);
  bool whole_parse(std::string_view body);
  bool whole_describe(std::string_view body);
  bool whole_close(std::string_view body);
  void ensure_prepared(const StatementPtr& statement);
  void prepare(const StatementPtr& statement, bool answer_to_client);
  bool serve_unnamed(const StatementPtr& statement);
  void record_batch(const StatementPtr& statement);
  [[nodiscard]] bool may_be_own_setting(std::uint32_t body, std::string_view begin) const;
  bool take_own_setting(std::string_view sql);
  [[nodiscard]] const StatementPtr* named(std::string_view name) const;
  [[nodiscard]] bool tracks_statements() const;

  Worker& worker_;
  std::uint64_t id_;
  netio::StreamPtr stream_;
  std::unique_ptr<ClientLogin> login_;
  PoolShard* shard_ = nullptr;
  Server* server_ = nullptr;
  User* user_ = nullptr;  // who logged in
  Database* database_ = nullptr;
  ParameterSetPtr parameters_;
  std::unique_ptr<NamedStatements> statements_;
  StatementPtr unnamed_;  // the unnamed statement, while it stands for a prepared one of the server
  // What went to the server since a batch began whose Parse was answered from what is prepared already.
  struct Batch {
    StatementPtr statement;
    std::string bytes, types;
    bool recording = false;
    bool described = false;  // ParameterDescription has been forwarded
  };
  std::unique_ptr<Batch> batch_;
  std::unique_ptr<ReplicationStart> replication_;
  std::unique_ptr<CausalReads> causal_;  // null: its reads take any replica
  std::string held_;                     // received, and waiting for a server connection
  MessageWalker walker_;
  std::uint64_t cancel_key_ = 0;
  TimePoint connected_at_, last_activity_, transaction_started_;
  ClientAddress address_;
  std::uint16_t listen_port_;
  State state_ = State::Login;
  bool query_running_ = false;
  bool transaction_running_ = false;
  bool paused_by_server_ = false;  // the server's socket is full
  bool counted_ = false;           // in the limits of database and user
  bool silent_ = false;            // no line about its end: it never sent a byte
};

}  // namespace pgvigil::pool
