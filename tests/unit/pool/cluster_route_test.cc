// Which members serve a role, and when the reign is another one.
#include "pool/cluster_route.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pgvigil::pool {
namespace {

using poolcfg::ReplicaFallback;
using poolcfg::ServerRole;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

ClusterMember member(const char* name, Role role) {
  ClusterMember made;
  made.name = MemberName(name);
  made.host = std::string(name) + ".net";
  made.role = role;
  made.state = InstanceState::Running;
  if (role == Role::Replica) {
    made.lag = 0;
    made.lag_time = Duration(0);
  }
  return made;
}

// a leads, b and c replicate.
ClusterState three() {
  ClusterState state;
  state.source = ClusterState::Source::Etcd;
  state.leader = MemberName("a");
  state.term = Term(Revision(7));
  state.reign = 3;
  state.members = {member("a", Role::Leader), member("b", Role::Replica), member("c", Role::Replica)};
  return state;
}

std::vector<std::string> names(const Route& route) {
  std::vector<std::string> all;
  for (const auto& target : route.targets) all.push_back(target.member + (target.leader ? "*" : ""));
  return all;
}

Route route(const ClusterState& state, ServerRole role, const poolcfg::ClusterSection& section = {}) {
  return make_route(&state, role, section);
}

TEST(ClusterRoute, ByRole) {
  EXPECT_THAT(names(route(three(), ServerRole::Primary)), ElementsAre("a*"));
  EXPECT_THAT(names(route(three(), ServerRole::Replica)), ElementsAre("b", "c"));
  EXPECT_THAT(names(route(three(), ServerRole::Any)), ElementsAre("b", "c", "a*"));
  EXPECT_EQ(route(three(), ServerRole::Primary).reign, 3U);
}

TEST(ClusterRoute, WithoutAStateOrALeaderClientsWait) {
  EXPECT_TRUE(make_route(nullptr, ServerRole::Primary, {}).held);
  ClusterState state = three();
  state.leader = MemberName();
  EXPECT_TRUE(route(state, ServerRole::Primary).held);
  EXPECT_FALSE(route(state, ServerRole::Primary).refused);
  EXPECT_FALSE(route(state, ServerRole::Replica).held);
}

TEST(ClusterRoute, ALeaderThatDrainsIsGivenToNobody) {
  ClusterState state = three();
  state.draining = true;
  EXPECT_TRUE(route(state, ServerRole::Primary).held);
  EXPECT_THAT(names(route(state, ServerRole::Any)), ElementsAre("b", "c"));
}

TEST(ClusterRoute, AMemberThatIsOnlyCalledALeaderIsNone) {
  ClusterState state = three();
  state.members[1].role = Role::Promoted;
  EXPECT_THAT(names(route(state, ServerRole::Replica)), ElementsAre("c"));
}

TEST(ClusterRoute, ReplicasThatMayNotServe) {
  ClusterState state = three();
  state.members[1].noloadbalance = true;
  state.members[2].state = InstanceState::Starting;
  EXPECT_THAT(names(route(state, ServerRole::Replica)), ElementsAre("a*"));
  poolcfg::ClusterSection section;
  section.replica_fallback = ReplicaFallback::Refuse;
  const Route refusing = route(state, ServerRole::Replica, section);
  EXPECT_THAT(names(refusing), IsEmpty());
  EXPECT_TRUE(refusing.refused);
}

TEST(ClusterRoute, LagBeyondALimitOrUnknown) {
  ClusterState state = three();
  state.members[1].lag = 1001;
  state.members[1].lag_time = std::chrono::seconds(3);
  poolcfg::ClusterSection section;
  EXPECT_THAT(names(route(state, ServerRole::Replica, section)), ElementsAre("b", "c"));
  section.max_replica_lag = 1000;
  EXPECT_THAT(names(route(state, ServerRole::Replica, section)), ElementsAre("c"));
  section.max_replica_lag = 1001;
  EXPECT_THAT(names(route(state, ServerRole::Replica, section)), ElementsAre("b", "c"));
  section.max_replica_lag_time = std::chrono::seconds(2);
  EXPECT_THAT(names(route(state, ServerRole::Replica, section)), ElementsAre("c"));
  state.members[2].lag_time.reset();
  EXPECT_THAT(names(route(state, ServerRole::Replica, section)), ElementsAre("a*"));
}

TEST(ClusterRoute, TheMemberWithTheFewestConnectionsIsChosen) {
  MemberLoads loads;
  const Route replicas = route(three(), ServerRole::Replica);
  const TimePoint now(std::chrono::seconds(100));
  EXPECT_EQ(choose_target(replicas, loads, now, 0)->member, "b");
  EXPECT_EQ(choose_target(replicas, loads, now, 1)->member, "c");
  loads.of("b").connections = 2;
  loads.of("c").connections = 1;
  EXPECT_EQ(choose_target(replicas, loads, now, 0)->member, "c");
  loads.of("c").avoid_until = (now + std::chrono::seconds(1)).since_boot().count();
  EXPECT_EQ(choose_target(replicas, loads, now, 0)->member, "b");
  loads.of("b").avoid_until = loads.of("c").avoid_until.load();
  EXPECT_EQ(choose_target(replicas, loads, now, 0)->member, "c");
  EXPECT_EQ(choose_target(Route(), loads, now, 0), nullptr);
}

TEST(Reign, IsTheSameWhileLeaderAndTermAre) {
  const ClusterState before = three();
  ClusterState now = three();
  EXPECT_TRUE(same_reign(before, now));
  now.term = Term(Revision(8));
  EXPECT_FALSE(same_reign(before, now));
  now.term = Term();  // seen by the REST API
  EXPECT_TRUE(same_reign(before, now));
  now.leader = MemberName("b");
  EXPECT_FALSE(same_reign(before, now));
  EXPECT_TRUE(same_reign(ClusterState(), ClusterState()));
}

}  // namespace
}  // namespace pgvigil::pool
