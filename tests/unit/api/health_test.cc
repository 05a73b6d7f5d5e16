#include "api/health.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "fixture.h"

namespace pgvigil::api {
namespace {

constexpr TimePoint kNow(std::chrono::hours(5));

Observed observed(agent::AgentStatus status) {
  Observed node;
  node.instance = status.instance;
  node.status = std::make_shared<const agent::AgentStatus>(std::move(status));
  node.now = kNow;
  return node;
}

template <class Change>
agent::AgentStatus with_view(agent::AgentStatus status, Change change) {
  ClusterView view = *status.view;
  change(view);
  status.view = test::share(std::move(view));
  return status;
}

agent::AgentStatus leader() { return test::leader_status(kNow + std::chrono::seconds(20)); }
agent::AgentStatus replica() { return test::replica_status(); }

agent::AgentStatus sync_replica(SyncMode mode) {
  return with_view(replica(), [&](ClusterView& view) {
    view.settings.synchronous_mode = mode;
    view.sync.standbys = {MemberName("n2")};
  });
}

agent::AgentStatus in_standby_cluster(agent::AgentStatus status) {
  return with_view(std::move(status), [](ClusterView& view) { view.settings.standby_cluster = StandbyCluster{}; });
}

agent::AgentStatus standby_leader() {
  auto status = in_standby_cluster(replica());
  status.name = MemberName("n1");
  status.role = Role::StandbyLeader;
  status.leader_until = kNow + std::chrono::seconds(20);
  return status;
}

struct Node {
  std::string what;
  agent::AgentStatus status;
};

std::vector<Node> nodes() {
  std::vector<Node> all;
  all.push_back({"leader", leader()});
  all.push_back({"leader whose lease has run out", test::leader_status(kNow)});
  auto promoting = replica();
  promoting.leader_until = kNow + std::chrono::seconds(20);
  promoting.role = Role::Promoted;
  all.push_back({"new leader, still in recovery", promoting});
  all.push_back({"replica", replica()});
  all.push_back({"synchronous replica", sync_replica(SyncMode::On)});
  all.push_back({"quorum replica", sync_replica(SyncMode::Quorum)});
  auto hidden = sync_replica(SyncMode::On);
  hidden.tags.noloadbalance = true;
  all.push_back({"synchronous replica, noloadbalance", hidden});
  all.push_back({"standby leader", standby_leader()});
  all.push_back({"replica of a standby cluster", in_standby_cluster(replica())});
  auto stopped = replica();
  stopped.state = InstanceState::Stopped;
  stopped.instance.postmaster = PostmasterState::Stopped;
  all.push_back({"stopped", stopped});
  auto stuck = replica();
  stuck.instance.postmaster = PostmasterState::Unresponsive;
  all.push_back({"PostgreSQL does not answer", stuck});
  auto starting = replica();
  starting.state = InstanceState::Starting;
  starting.instance.postmaster = PostmasterState::Starting;
  all.push_back({"starting", starting});
  auto blind = sync_replica(SyncMode::On);
  blind.dcs_fresh = false;
  all.push_back({"synchronous replica, etcd away", blind});
  auto failsafe = leader();
  failsafe.dcs_fresh = false;
  failsafe.failsafe_active = true;
  all.push_back({"leader in failsafe mode, etcd away", failsafe});
  auto paused = test::leader_status(TimePoint());
  paused.dcs_fresh = false;
  paused.paused = true;
  all.push_back({"paused primary without a lease, etcd away", paused});
  auto paused_replica = replica();
  paused_replica.dcs_fresh = false;
  paused_replica.paused = true;
  all.push_back({"paused replica, etcd away", paused_replica});
  auto unknown = replica();
  unknown.view = nullptr;
  unknown.dcs_fresh = false;
  all.push_back({"replica before etcd was read", unknown});
  return all;
}

struct Row {
  std::string path;
  std::string expected;  // one digit per node, in the order of nodes(): 1 = 200
};

// Columns:    leader, expired, promoting, replica, sync, quorum, hidden, standby leader, replica of it,
//             stopped, stuck, starting, blind, failsafe, paused primary, paused replica, unknown
const std::vector<Row> kRows{
    {"/", "10100000000001100"},
    {"/primary", "10100000000001100"},
    {"/master", "10100000000001100"},
    {"/read-write", "10100000000001100"},
    {"/leader", "10100001000001100"},
    {"/standby_leader", "00000001000000000"},
    {"/standby-leader", "00000001000000000"},
    {"/x/standby-leader/y", "00000001000000000"},
    {"/x/leader", "10100001000001100"},
    {"/replica", "00111100100010011"},
    {"/x/replica", "00111100100010011"},
    {"/read-only", "10111101100011111"},
    {"/health", "11111111100011111"},
    {"/healthy/x", "11111111100011111"},
    {"/sync", "00001000000000000"},
    {"/synchronous", "00001000000000000"},
    {"/quorum", "00000100000000000"},
    {"/async", "00110000100000000"},
    {"/asynchronous", "00110000100000000"},
    {"/read-only-sync", "10101001000000000"},
    {"/read-only-synchronous", "10101001000000000"},
    {"/read-only-quorum", "10100101000000000"},
    {"/x/sync", "00000000000000000"},
    {"/sync/", "00000000000000000"},
    {"/read-only-x-sync", "00000000000000000"},
    {"/liveness", "00000000000000000"},
    {"/patroni", "00000000000000000"},
    {"/cluster", "00000000000000000"},
    {"/nosuch", "00000000000000000"},
    {"*", "00000000000000000"},
    {"", "00000000000000000"},
};

TEST(Health, TableOfPathsAndNodes) {
  const auto all = nodes();
  for (const Row& row : kRows) {
    ASSERT_EQ(row.expected.size(), all.size()) << row.path;
    for (std::size_t i = 0; i < all.size(); ++i) {
      EXPECT_EQ(health_status(parse_target(row.path), observed(all[i].status)), row.expected[i] == '1' ? 200 : 503)
          << row.path << " on: " << all[i].what;
    }
  }
}

// Every path x role x state x tag x lag, against the rules said in another way.
TEST(Health, ReplicaConditionOverAllCombinations) {
  const std::vector<std::string> lags{"", "0", "1000", "1000B", "1kB", "1MB", "junk"};
  for (const bool in_recovery : {false, true}) {
    for (int state = 0; state <= 14; ++state) {
      for (const bool answers : {false, true}) {
        for (const bool noloadbalance : {false, true}) {
          for (const std::string& lag : lags) {
            for (const std::uint64_t behind : {0U, 1000U, 1024U, 1025U}) {
              auto status = replica();
              status.role = in_recovery ? Role::Replica : Role::Leader;
              status.instance.in_recovery = in_recovery;
              status.state = static_cast<InstanceState>(state);
              status.instance.postmaster = answers ? PostmasterState::Running : PostmasterState::Unresponsive;
              status.tags.noloadbalance = noloadbalance;
              status.instance.replayed = Lsn(100000000 - behind);
              std::uint64_t limit = UINT64_MAX;
              if (lag == "0") limit = 0;
              if (lag == "1000" || lag == "1000B") limit = 1000;
              if (lag == "1kB") limit = 1024;
              if (lag == "1MB") limit = 1048576;
              const bool good =
                  in_recovery && status.state == InstanceState::Running && answers && !noloadbalance && behind <= limit;
              const std::string path = "/replica" + (lag.empty() ? "" : "?lag=" + lag);
              EXPECT_EQ(health_status(parse_target(path), observed(status)) == 200, good)
                  << path << " recovery=" << in_recovery << " state=" << state << " behind=" << behind;
            }
          }
        }
      }
    }
  }
}

TEST(Health, LagCountsFromTheFartherOfStatusAndUpstream) {
  auto status = replica();
  status.instance.replayed = Lsn(100000000);
  status.instance.latest_end = Lsn(100002000);
  EXPECT_EQ(health_status(parse_target("/replica?lag=1000"), observed(status)), 503);
  EXPECT_EQ(health_status(parse_target("/replica?lag=2000"), observed(status)), 200);
  status.dcs_fresh = false;  // the upstream's own word is enough
  EXPECT_EQ(health_status(parse_target("/replica?lag=1000"), observed(status)), 503);
  status.instance.latest_end = Lsn();  // nothing to compare with
  EXPECT_EQ(health_status(parse_target("/replica?lag=1000"), observed(status)), 200);
}

TEST(Health, ReplicationStateMustEqual) {
  EXPECT_EQ(health_status(parse_target("/replica?replication_state=streaming"), observed(replica())), 200);
  EXPECT_EQ(health_status(parse_target("/replica?replication_state=in+archive+recovery"), observed(replica())), 503);
}

TEST(Health, TagsFilterEverythingButTheLeaderChecks) {
  auto status = replica();
  status.raw_tags = R"({"dc":"east","n":1.5,"on":true,"none":null})";
  const auto code = [&](const std::string& path) { return health_status(parse_target(path), observed(status)); };
  EXPECT_EQ(code("/replica?tag_dc=east"), 200);
  EXPECT_EQ(code("/replica?tag_dc=west"), 503);
  EXPECT_EQ(code("/replica?tag_n=1.5&tag_on=true"), 200);
  EXPECT_EQ(code("/replica?tag_on=True"), 503);
  EXPECT_EQ(code("/replica?tag_missing=x"), 503);
  EXPECT_EQ(code("/replica?tag_none=null"), 503);
  EXPECT_EQ(code("/health?tag_dc=west"), 503);
  EXPECT_EQ(code("/async?tag_dc=west"), 503);
  EXPECT_EQ(code("/read-only?tag_dc=west"), 503);
  status = leader();
  EXPECT_EQ(code("/primary?tag_dc=west"), 200);
  EXPECT_EQ(code("/leader?tag_dc=west"), 200);
  EXPECT_EQ(code("/read-only?tag_dc=west"), 503);
}

TEST(Health, LeaderFlagEndsWithTheLease) {
  auto status = leader();
  status.leader_until = kNow + Duration(1);
  EXPECT_EQ(health_status(parse_target("/primary"), observed(status)), 200);
  status.leader_until = kNow;
  EXPECT_EQ(health_status(parse_target("/primary"), observed(status)), 503);
}

TEST(Health, LeaderChecksNeedNoObservation) {
  EXPECT_FALSE(needs_observation(parse_target("/"), leader()));
  EXPECT_FALSE(needs_observation(parse_target("/leader"), replica()));
  EXPECT_TRUE(needs_observation(parse_target("/replica"), leader()));
  EXPECT_TRUE(needs_observation(parse_target("/standby-leader"), standby_leader()));
}

TEST(Liveness, ToleratesAStuckReplicaTwiceAsLong) {
  auto primary = leader();
  auto standby = replica();
  for (auto* status : {&primary, &standby}) status->next_step_by = kNow;
  auto node = observed(primary);
  node.now = kNow + std::chrono::seconds(29);
  EXPECT_EQ(liveness_status(node), 200);
  node.now = kNow + std::chrono::seconds(30);
  EXPECT_EQ(liveness_status(node), 503);
  node = observed(standby);
  node.now = kNow + std::chrono::seconds(59);
  EXPECT_EQ(liveness_status(node), 200);
  node.now = kNow + std::chrono::seconds(60);
  EXPECT_EQ(liveness_status(node), 503);
  standby.paused = true;
  node = observed(standby);
  node.now = kNow + std::chrono::hours(1);
  EXPECT_EQ(liveness_status(node), 200);
  standby.paused = false;
  standby.next_step_by = TimePoint::max();
  EXPECT_EQ(liveness_status(observed(standby)), 200);
}

TEST(Readiness, FollowsReplicationAndLag) {
  const auto code = [](const agent::AgentStatus& status, const std::string& query = {}) {
    return readiness_status(parse_target("/readiness" + query), observed(status));
  };
  EXPECT_EQ(code(leader()), 200);
  EXPECT_EQ(code(test::leader_status(TimePoint())), 503);
  auto status = replica();
  EXPECT_EQ(code(status), 200);
  status.instance.replayed = Lsn(100000000 - 1048576);
  EXPECT_EQ(code(status), 200);
  status.instance.replayed = Lsn(100000000 - 1048577);
  EXPECT_EQ(code(status), 503);
  EXPECT_EQ(code(status, "?lag=2MB"), 200);
  EXPECT_EQ(code(status, "?mode=write"), 200);
  EXPECT_EQ(code(status, "?mode=apply&lag=junk"), 503);
  status = replica();
  status.instance.replication_state = "in archive recovery";
  EXPECT_EQ(code(status), 503);
  status = replica();
  status.state = InstanceState::Starting;
  EXPECT_EQ(code(status), 503);
  status = replica();
  status.dcs_fresh = false;
  EXPECT_EQ(code(status), 503);
  status.failsafe_active = true;
  EXPECT_EQ(code(status), 200);
  status.failsafe_active = false;
  status.instance.latest_end = Lsn(100000000);
  EXPECT_EQ(code(status), 200);
}

}  // namespace
}  // namespace pgvigil::api
