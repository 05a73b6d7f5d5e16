#include "cluster.h"

#include "agent_parts.h"
#include "config/dynamic.h"
#include "dcs/member_json.h"

namespace pgvigil::sim {

Cluster::Cluster(World& world_in, const Rules& rules_in, std::size_t count, std::string config)
    : world(world_in),
      rules(rules_in),
      network(world, count),
      etcd(world, network, rules, static_cast<int>(world.below(1001)) - 500),
      checker(*this),
      poolers(*this),
      dynamic_config(std::move(config)) {
  for (std::size_t i = 0; i < count; ++i) machines.push_back(std::make_unique<Machine>(*this, i));
  etcd.observe_key(key("leader"), [this](const dcs::KeyValue* before, const dcs::KeyValue* after, bool expired) {
    checker.leader_key_changes(before, after, expired);
  });
  etcd.observe_key(key("drain"), [this](const dcs::KeyValue*, const dcs::KeyValue* after, bool) {
    if (after != nullptr) checker.asks_to_drain(after->value);
    poolers.drain_key_changes(after != nullptr ? after->value : std::string());
  });
}

Cluster::~Cluster() = default;

Machine* Cluster::find(const std::string& name) const {
  for (const auto& machine : machines) {
    if (machine->name.text() == name) return machine.get();
  }
  return nullptr;
}

Machine* Cluster::primary() const {
  for (const auto& machine : machines) {
    if (machine->writable()) return machine.get();
  }
  return nullptr;
}

ClusterSettings Cluster::settings() const {
  const auto* kv = etcd.find(key("config"));
  return config::parse_cluster_settings(kv != nullptr ? kv->value : dynamic_config).value_or(ClusterSettings());
}

void Cluster::request_failover(const std::string& leader, const std::string& candidate) {
  FailoverRequest request;
  request.leader = MemberName(leader);
  request.candidate = MemberName(candidate);
  dcs::Txn txn;
  txn.success.emplace_back(dcs::Put{key("failover"), dcs::failover_to_json(request), LeaseId()});
  world.note("operator: {} from {} to {}", leader.empty() ? "failover" : "switchover", leader, candidate);
  (void)etcd.apply(txn);
}

}  // namespace pgvigil::sim
