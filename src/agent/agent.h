// The coordinator of one node: gathers what is known, asks ha::decide, carries the answer out. Knows ports, never
// adapters, so the simulator runs it as it is. Single-threaded, on the clock's executor.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "agent/commands.h"
#include "agent/node.h"
#include "agent/peers.h"
#include "agent/status.h"
#include "base/clock.h"
#include "base/log.h"
#include "dcs/cluster_store.h"
#include "guard/link.h"
#include "ha/sync.h"
#include "model/decision.h"
#include "model/local_state.h"
#include "postgres/port.h"

namespace pgvigil::agent {

// Everything outlives the agent.
struct Ports {
  Clock& clock;
  dcs::ClusterStore& store;
  postgres::Postgres& postgres;
  guard::GuardLink& guard;
  Peers& peers;
  Node& node;
  Log log;
};

struct Options {
  // The rules; the simulator's mutations replace them.
  std::function<Decision(const ClusterView&, const LocalState&, TimePoint)> decide;  // empty: ha::decide
  std::function<ha::SyncStep(const ClusterView&, const LocalState&)> sync_step;      // empty: ha::next_sync_step
  bool watchdog_required = false;
  // Whether the watchdog device may be used, feeding it (false: it cannot be), ending it. Empty: there is none.
  std::function<bool()> watchdog_usable;
  std::function<bool(Duration ttl, Duration loop_wait)> feed_watchdog;
  std::function<void()> stop_watchdog;
};

class Agent final : public Commands {
 public:
  Agent(Ports ports, Options options);
  ~Agent() override;
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  // Runs until request_stop() has been carried out or the node may not go on; returns the exit status. Started once.
  Task<int> run();
  // SIGTERM: a leader hands over first, PostgreSQL stops (not while paused), then run() returns. Again: at once.
  void request_stop();
  // SIGHUP.
  CommandReply reload() override;

  [[nodiscard]] std::shared_ptr<const AgentStatus> status() const override;
  Clock& clock() override;
  Task<CommandReply> restart(RestartRequest request) override;
  Task<CommandReply> schedule_restart(RestartRequest request) override;
  Task<CommandReply> delete_scheduled_restart() override;
  Task<CommandReply> reinitialize(bool force, bool from_leader) override;
  Task<dcs::TxnReply> write_config(std::string json, std::optional<Revision> expected, TimePoint deadline) override;
  Task<dcs::TxnReply> write_failover(std::string json, std::optional<Revision> expected, TimePoint deadline) override;
  Task<bool> can_take_over(MemberName member) override;
  Task<Instance> observe_now() override;
  FailsafeReply failsafe_ping(const std::string& name, const std::string& conn_url, const std::string& api_url,
                              std::optional<Duration> ttl) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pgvigil::agent
