#include "pool/cluster_route.h"

#include <tuple>

namespace pgvigil::pool {
namespace {

RouteTarget target_of(const ClusterMember& member, bool leader) {
  return {member.name.text(), member.host, member.port, member.socket_directory, leader};
}

// A lag that is not known is not within a limit.
bool within_limits(const ClusterMember& member, const poolcfg::ClusterSection& section) {
  if (section.max_replica_lag > 0 && (!member.lag || *member.lag > section.max_replica_lag)) return false;
  const Duration limit = section.max_replica_lag_time;
  return limit.count() == 0 || (member.lag_time && *member.lag_time <= limit);
}

bool may_serve_reads(const ClusterMember& member, const poolcfg::ClusterSection& section) {
  return member.role == Role::Replica && member.runs() && !member.noloadbalance && !member.host.empty() &&
         within_limits(member, section);
}

}  // namespace

std::string_view to_string(ClusterState::Source source) {
  switch (source) {
    case ClusterState::Source::Nobody: return "nobody";
    case ClusterState::Source::Etcd: return "etcd";
    case ClusterState::Source::Rest: return "rest";
  }
  return "unknown";
}

bool same_reign(const ClusterState& before, const ClusterState& now) {
  if (before.leader != now.leader) return false;
  return before.term == now.term || before.term == Term() || now.term == Term();
}

Route make_route(const ClusterState* state, poolcfg::ServerRole role, const poolcfg::ClusterSection& section) {
  using poolcfg::ServerRole;
  Route route;
  if (state == nullptr) return route;
  route.reign = state->reign;
  if (role != ServerRole::Primary) {
    for (const ClusterMember& member : state->members) {
      if (member.name != state->leader && may_serve_reads(member, section)) {
        route.targets.push_back(target_of(member, false));
      }
    }
  }
  const bool wants_leader = role != ServerRole::Replica ||
                            (route.targets.empty() && section.replica_fallback == poolcfg::ReplicaFallback::Leader);
  // Whether it runs is for it to say when it is asked: what it published may be old, its key in etcd is not.
  const ClusterMember* leader = state->leader.empty() ? nullptr : state->member(state->leader);
  if (wants_leader && leader != nullptr && !leader->host.empty() && !state->draining) {
    route.targets.push_back(target_of(*leader, true));
  }
  route.held = route.targets.empty();
  route.refused = route.held && !wants_leader;
  return route;
}

MemberLoad& MemberLoads::of(const std::string& member) {
  const std::lock_guard lock(mutex_);
  auto& load = loads_[member];
  if (!load) load = std::make_unique<MemberLoad>();
  return *load;
}

int MemberLoads::connections(const std::string& member) const {
  const std::lock_guard lock(mutex_);
  const auto found = loads_.find(member);
  return found == loads_.end() ? 0 : found->second->connections.load();
}

const RouteTarget* choose_target(const Route& route, MemberLoads& loads, TimePoint now, unsigned turn) {
  const RouteTarget* best = nullptr;
  std::tuple<bool, int> best_cost;
  for (std::size_t i = 0; i < route.targets.size(); ++i) {
    const RouteTarget& target = route.targets[(turn + i) % route.targets.size()];
    const MemberLoad& load = loads.of(target.member);
    const std::tuple<bool, int> cost(load.avoid_until.load() > now.since_boot().count(), load.connections.load());
    if (best != nullptr && cost >= best_cost) continue;
    best = &target;
    best_cost = cost;
  }
  return best;
}

}  // namespace pgvigil::pool
