// Who is restarted in which order, what is read of a member's status, and how an outage is measured.
#include <gtest/gtest.h>

#include "ctl/member_report.h"
#include "ctl/probe.h"
#include "ctl/rolling.h"

namespace pgvigil::ctl {
namespace {

using Names = std::vector<std::string>;

ClusterView three_nodes() {
  ClusterView view;
  view.leader = LeaderKey{MemberName("b"), Term(Revision(1)), Revision(1), LeaseId(1)};
  for (const char* name : {"a", "b", "c"}) {
    Member m;
    m.name = MemberName(name);
    view.members.push_back(m);
  }
  return view;
}

TEST(RollingPlan, TakesTheReplicasBeforeTheLeader) {
  auto view = three_nodes();
  const auto all = plan_rolling(view, false);
  EXPECT_EQ(all.replicas, (Names{"a", "c"}));
  EXPECT_TRUE(all.leader);
  view.members[2].pending_restart_flag = true;
  const auto pending = plan_rolling(view, true);
  EXPECT_EQ(pending.replicas, Names{"c"});
  EXPECT_FALSE(pending.leader);
}

TEST(Successor, IsOneThatStreamsAndWasRestarted) {
  auto view = three_nodes();
  EXPECT_EQ(successor_of(view, {"a", "c"}, {"c"}), "c");
  EXPECT_EQ(successor_of(view, {"a", "c"}, {}), "a");
  EXPECT_EQ(successor_of(view, {"a"}, {"c"}), "a");
  EXPECT_EQ(successor_of(view, {}, {"a", "c"}), "");
  view.members[0].tags.nofailover = true;
  EXPECT_EQ(successor_of(view, {"a"}, {"a"}), "");
  view.sync.leader = MemberName("b");
  EXPECT_EQ(successor_of(view, {"a", "c"}, {"c"}), "") << "c is not synchronous";
  view.sync.standbys = {MemberName("c")};
  EXPECT_EQ(successor_of(view, {"a", "c"}, {"c"}), "c");
}

TEST(MemberReport, IsReadFromTheStatusDocument) {
  const auto leader = parse_report(
      R"({"state":"running","role":"primary","postmaster_start_time":"t","xlog":{"location":500},)"
      R"("pending_restart":true,)"
      R"("replication":[{"application_name":"a","state":"streaming"},{"application_name":"c","state":"catchup"}]})");
  EXPECT_TRUE(leader.runs_as_primary());
  EXPECT_TRUE(leader.pending_restart);
  EXPECT_EQ(leader.position, Lsn(500));
  EXPECT_EQ(leader.streaming, Names{"a"});
  const auto replica =
      parse_report(R"({"state":"running","role":"replica","xlog":{"received_location":400,"replayed_location":300}})");
  EXPECT_FALSE(replica.runs_as_primary());
  EXPECT_EQ(replica.position, Lsn(400));
  EXPECT_EQ(replica.replayed, Lsn(300));
  for (const std::string text : {"", "[]", "{", R"({"xlog":5,"replication":{},"state":1})"}) {
    EXPECT_FALSE(parse_report(text).position.known()) << text;
  }
}

TEST(LongestGap, CountsTheBeginningAndTheEnd) {
  using std::chrono::milliseconds;
  const std::chrono::steady_clock::time_point begin;
  const auto at = [begin](int ms) { return begin + milliseconds(ms); };
  EXPECT_EQ(longest_gap(begin, {at(10), at(300), at(320)}, at(330)), milliseconds(290));
  EXPECT_EQ(longest_gap(begin, {at(500)}, at(510)), milliseconds(500));
  EXPECT_EQ(longest_gap(begin, {at(5)}, at(900)), milliseconds(895));
  EXPECT_EQ(longest_gap(begin, {}, at(70)), milliseconds(70));
}

}  // namespace
}  // namespace pgvigil::ctl
