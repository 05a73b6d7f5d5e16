// What etcd and the REST APIs say, as the pooler routes by it.
#include "follow/cluster_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pgvigil::follow {
namespace {

using pool::ClusterState;

ClusterView view() {
  ClusterView view;
  view.leader = LeaderKey{MemberName("a"), Term(Revision(9)), Revision(9), LeaseId(1)};
  view.status.optime = Lsn(1000);
  Member a, b;
  a.name = MemberName("a");
  a.host = "ha";
  a.role = Role::Leader;
  a.state = InstanceState::Running;
  a.wal_position = Lsn(1200);
  b.name = MemberName("b");
  b.host = "hb";
  b.port = 5433;
  b.role = Role::Replica;
  b.state = InstanceState::Running;
  b.replay_lsn = Lsn(900);
  b.wal_position = Lsn(1100);
  b.tags.noloadbalance = true;
  view.members = {a, b};
  return view;
}

TEST(StateOf, LeaderTermAndMembers) {
  const ClusterState state = state_of(view(), {}, WallTime());
  EXPECT_EQ(state.leader, MemberName("a"));
  EXPECT_EQ(state.term, Term(Revision(9)));
  EXPECT_EQ(state.source, ClusterState::Source::Etcd);
  ASSERT_EQ(state.members.size(), 2U);
  EXPECT_EQ(state.members[1].port, 5433);
  EXPECT_TRUE(state.members[1].noloadbalance);
}

TEST(StateOf, LagCountsWhatIsReplayedAgainstTheNewestPositionOfTheLeader) {
  EXPECT_EQ(state_of(view(), {}, WallTime()).members[1].lag, 300);
  const WallTime now(std::chrono::seconds(1000));
  LagSamples samples;
  samples["a"] = {true, Lsn(2000), {}};
  samples["b"] = {false, Lsn(1500), now - std::chrono::seconds(4)};
  const auto behind = state_of(view(), samples, now).members[1];
  EXPECT_EQ(behind.lag, 500);
  EXPECT_EQ(behind.lag_time, Duration(std::chrono::seconds(4)));
  samples["b"].position = Lsn(2000);
  const auto level = state_of(view(), samples, now).members[1];
  EXPECT_EQ(level.lag, 0);
  EXPECT_EQ(level.lag_time, Duration(0));
}

TEST(StateOf, APositionThatNobodyTellsIsNoLag) {
  ClusterView unknown = view();
  unknown.members[1].replay_lsn = unknown.members[1].wal_position = Lsn();
  EXPECT_FALSE(state_of(unknown, {}, WallTime()).members[1].lag);
}

TEST(ParseLag, OfAPrimaryAndAReplica) {
  const auto primary = parse_lag(R"({"xlog": {"location": 5}})");
  ASSERT_TRUE(primary);
  EXPECT_TRUE(primary->primary);
  EXPECT_EQ(primary->position, Lsn(5));
  const auto replica = parse_lag(R"({"xlog": {"received_location": 9, "replayed_location": 7, )"
                                 R"("replayed_timestamp": "2026-01-24 02:13:52+00:00"}})");
  ASSERT_TRUE(replica);
  EXPECT_FALSE(replica->primary);
  EXPECT_EQ(replica->position, Lsn(7));
  EXPECT_TRUE(replica->replayed);
  for (const char* text : {"", "[]", "{}", R"({"xlog": 1})", R"({"xlog": {"replayed_location": 0}})"}) {
    EXPECT_FALSE(parse_lag(text)) << text;
  }
}

std::string document(const std::string& leader, int timeline) {
  std::string rows;
  for (const std::string name : {"a", "b"}) {
    rows += std::string(rows.empty() ? "" : ",") + R"({"name":")" + name + R"(","role":")" +
            (name == leader ? "leader" : "sync_standby") + R"(","state":")" +
            (name == leader ? "running" : "streaming") + R"(","host":"h","port":5432,"timeline":)" +
            std::to_string(timeline) + R"(,"lag":3})";
  }
  return R"({"members":[)" + rows + "]}";
}

TEST(StateOfDocuments, TheHighestTimelineIsBelieved) {
  const auto state = state_of_documents({document("a", 4), "no json", document("b", 5), document("a", 4)});
  ASSERT_TRUE(state);
  EXPECT_EQ(state->source, ClusterState::Source::Rest);
  EXPECT_EQ(state->leader, MemberName("b"));
  EXPECT_EQ(state->term, Term());
  ASSERT_EQ(state->members.size(), 2U);
  EXPECT_EQ(state->members[0].role, Role::Replica);
  EXPECT_TRUE(state->members[0].runs());
  EXPECT_EQ(state->members[0].lag, 3);
}

TEST(StateOfDocuments, OneWithALeaderCountsMoreThanOneWithout) {
  EXPECT_EQ(state_of_documents({document("", 4), document("a", 4)})->leader, MemberName("a"));
  EXPECT_TRUE(state_of_documents({document("", 4)})->leader.empty());
  EXPECT_FALSE(state_of_documents({}));
  EXPECT_FALSE(state_of_documents({"{}", "[1]", R"({"members": 1})"}));
}

}  // namespace
}  // namespace pgvigil::follow
