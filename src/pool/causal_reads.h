// A client whose reads see what its user has committed before: a server connection to a replica is handed to it only
// once that replica has replayed so much, else one to the leader (docs/cluster-pooling.md). Only clients that ask for
// it have this.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "model/lsn.h"
#include "netio/loop.h"
#include "pool/server.h"
#include "pool/shard.h"

namespace pgvigil::pool {

class Client;

class CausalReads final : public Waiter, public ServerListener {
 public:
  explicit CausalReads(Client& client);
  ~CausalReads();
  void set_on(bool on) { on_ = on; }
  void set_after(Lsn after) { after_ = after; }

  // A transaction of the client has ended on this connection; before the client learns of it.
  void committed(const Server& server);
  // Before the client asks for a server connection: whether the leader has to tell first how far the user's commits go.
  // ask_leader() then goes on with Client::take_server().
  [[nodiscard]] bool must_ask_leader();
  void ask_leader();
  // The client got this one: whether its server has to show that it has replayed enough. check() then goes on with
  // Client::on_server(), of this connection or of one to the leader.
  [[nodiscard]] bool must_check(const Server& server) const;
  void check(Server& server);
  void abandon();  // the client is being closed

  void on_server(Server& server) override;
  void on_refused(const Refusal& refusal) override;
  void on_server_lost(const Refusal& refusal, bool unsent) override;
  void on_welcome() override {}
  void on_long_wait() override;
  void on_message(Server& server, char type, std::string_view body) override;

 private:
  enum class Doing : std::uint8_t { Nothing, AskingLeader, Checking };
  // How often a replica is asked again.
  static constexpr Duration kAskAgain = std::chrono::milliseconds(1);

  void query(std::string_view sql);
  void answered(Server& server);
  void go_to_leader();
  void set_timer(TimePoint when);
  void on_timer();
  [[nodiscard]] PoolShard& leader_shard() const;
  [[nodiscard]] TimePoint now() const;

  Client& client_;
  bool on_ = false;
  Lsn after_, goal_;
  Doing doing_ = Doing::Nothing;
  bool to_leader_ = false;  // the client waits in the queue of the leader's pool
  TimePoint deadline_;
  Server* server_ = nullptr;
  std::uint64_t asked_commits_ = 0, asked_reign_ = 0;
  std::optional<Lsn> answer_;
  std::optional<netio::Loop::TimerId> timer_;
};

// "SET causal_reads = on" and "SET pgvigil.after_lsn = '0/3000060'", which are the pooler's and not PostgreSQL's.
struct OwnSetting {
  std::optional<bool> causal_reads;
  std::optional<Lsn> after_lsn;
  std::string problem;  // not empty: the value cannot be used
};
// Nothing: the statement is for PostgreSQL.
std::optional<OwnSetting> parse_own_setting(std::string_view sql);
std::optional<bool> parse_switch_word(std::string_view text);
// The position that a replica has to reach, from the leader's insert position: that one lies behind the header of a
// page that has no record yet, where no replica ever gets to.
Lsn replay_goal(Lsn insert_position);

}  // namespace pgvigil::pool
