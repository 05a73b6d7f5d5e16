// The real agent of one machine over simulated ports, in a process that can be frozen and killed.
#pragma once

#include <functional>
#include <memory>

#include "agent/agent.h"
#include "agent/node.h"
#include "agent/peers.h"
#include "cluster.h"
#include "guard/link.h"
#include "machine.h"
#include "sim_postgres.h"

namespace pgvigil::sim {

class SimNode final : public agent::Node {
 public:
  SimNode(Cluster& cluster, Machine& machine) : cluster_(cluster), machine_(machine) {}
  [[nodiscard]] MemberName name() const override { return machine_.name; }
  [[nodiscard]] std::string scope() const override { return "sim"; }
  [[nodiscard]] Tags tags() const override { return machine_.tags; }
  [[nodiscard]] std::string raw_tags() const override;
  [[nodiscard]] std::string conn_url() const override;
  [[nodiscard]] std::string api_url() const override { return "http://" + machine_.name.text() + ":8008/patroni"; }
  [[nodiscard]] std::string proxy_url() const override { return {}; }
  [[nodiscard]] std::string version() const override { return "4.1.0"; }
  [[nodiscard]] bool may_bootstrap() const override { return true; }
  [[nodiscard]] std::string bootstrap_config() const override { return cluster_.dynamic_config; }
  [[nodiscard]] std::string cached_config() const override { return machine_.disk.cached_config; }
  Result<bool> adopt_config(const std::string& json) override;
  Result<void> reload_local() override { return {}; }
  [[nodiscard]] std::map<std::string, bool> permanent_physical_slots() const override { return {}; }

 private:
  Cluster& cluster_;
  Machine& machine_;
};

// GET /patroni of the other members, answered by their real agents.
class SimPeers final : public agent::Peers {
 public:
  SimPeers(Cluster& cluster, Machine& machine, Process& process)
      : cluster_(cluster), machine_(machine), process_(process) {}
  Task<Result<PeerReport>> ask(MemberName name, std::string api_url, TimePoint deadline) override;
  Task<Result<bool>> post_failsafe(std::string api_url, std::string body, TimePoint deadline) override;

 private:
  Cluster& cluster_;
  Machine& machine_;
  Process& process_;
};

class SimGuardLink final : public guard::GuardLink {
 public:
  SimGuardLink(Cluster& cluster, Machine& machine) : cluster_(cluster), machine_(machine) {}
  Result<void> arm(TimePoint deadline, std::int64_t postmaster_pid) override;
  Result<void> disarm() override;
  Result<guard::GuardStatus> status() override;

 private:
  [[nodiscard]] bool answers();

  Cluster& cluster_;
  Machine& machine_;
};

struct Machine::AgentParts {
  AgentParts(Cluster& cluster, Machine& machine);
  void run(std::function<void(int code)> exited);
  void server_ended() { postgres.server_ended(); }
  void stop_actions() { postgres.cancel_action(); }

  std::shared_ptr<Process> process;
  SimKv kv;
  SimNode node;
  SimPostgres postgres;
  SimGuardLink guard;
  SimPeers peers;
  dcs::ClusterStore store;
  agent::Agent agent;
};

}  // namespace pgvigil::sim
