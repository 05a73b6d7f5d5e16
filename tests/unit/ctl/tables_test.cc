// The tables of `list`, `topology` and `history`, letter for letter where the interface shows them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ctl/cluster_table.h"
#include "ctl/yaml_text.h"

namespace pgvigil::ctl {
namespace {

Member member(const char* name, std::uint16_t port, Role role) {
  Member m;
  m.name = MemberName(name);
  m.host = "127.0.0.1";
  m.port = port;
  m.role = role;
  m.state = InstanceState::Running;
  m.timeline = Timeline(1);
  return m;
}

ClusterView two_nodes() {
  ClusterView view;
  view.initialize = "7711555499471225088";
  view.leader = LeaderKey{MemberName("node-0"), Term(Revision(1)), Revision(1), LeaseId(1)};
  auto leader = member("node-0", 45430, Role::Leader);
  leader.wal_position = Lsn(0x4000060);
  auto replica = member("node-1", 45431, Role::Replica);
  replica.replication_state = "streaming";
  replica.wal_position = replica.receive_lsn = replica.replay_lsn = Lsn(0x4000060);
  view.members = {leader, replica};
  view.status.optime = Lsn(0x4000060);
  return view;
}

TEST(ClusterTable, NamesWhatKeepsAMemberFromStreaming) {
  auto view = two_nodes();
  view.members[1].problem = "no pg_hba.conf entry";
  EXPECT_THAT(cluster_table(view, "demo", {}), testing::EndsWith("+\n node-1: no pg_hba.conf entry\n"));
  EXPECT_THAT(cluster_table(view, "demo", {false, false, Format::Json}),
              testing::HasSubstr("\"Problem\": \"no pg_hba.conf entry\""));
}

TEST(ClusterTable, IsColouredOnRequestOnly) {
  auto view = two_nodes();
  view.members[1].state = InstanceState::Crashed;
  const auto plain = cluster_table(view, "demo", {});
  EXPECT_THAT(plain, testing::Not(testing::HasSubstr("\033")));
  const auto coloured = cluster_table(view, "demo", {false, false, Format::Pretty, true});
  EXPECT_THAT(coloured, testing::HasSubstr("\033[1mnode-0\033[0m"));
  EXPECT_THAT(coloured, testing::HasSubstr("\033[31mcrashed"));
}

TEST(ClusterTable, IsTheInterfacesOwnExample) {
  EXPECT_EQ(cluster_table(two_nodes(), "demo", {}),
            "+ Cluster: demo (7711555499471225088) -----------+----+-------------+-----+------------+-----+\n"
            "| Member | Host            | Role    | State     | TL | Receive LSN | Lag | Replay LSN | Lag |\n"
            "+--------+-----------------+---------+-----------+----+-------------+-----+------------+-----+\n"
            "| node-0 | 127.0.0.1:45430 | Leader  | running   |  1 |             |     |            |     |\n"
            "| node-1 | 127.0.0.1:45431 | Replica | streaming |  1 |   0/4000060 |   0 |  0/4000060 |   0 |\n"
            "+--------+-----------------+---------+-----------+----+-------------+-----+------------+-----+\n");
}

TEST(ClusterTable, TellsWhatIsNotInitialized) {
  ClusterView view;
  EXPECT_THAT(cluster_table(view, "demo", {}), ::testing::StartsWith("+ Cluster: demo (uninitialized) "));
  view.initialize = "";
  EXPECT_THAT(cluster_table(view, "demo", {}), ::testing::StartsWith("+ Cluster: demo (initializing) "));
}

TEST(ClusterTable, LeavesThePortOutWhereItSaysNothing) {
  auto view = two_nodes();
  view.members[0].port = view.members[1].port = 5432;
  view.members[1].host = "127.0.0.2";
  EXPECT_THAT(cluster_table(view, "demo", {}), ::testing::HasSubstr("| 127.0.0.1 | Leader "));
}

TEST(ClusterTable, ShowsReasonsForARestartOnePerLine) {
  auto view = two_nodes();
  view.members[1].pending_restart_flag = true;
  view.members[1].pending_restart = {{"max_connections", {"100", "101"}}, {"shared_buffers", {"128MB", "256MB"}}};
  const auto text = cluster_table(view, "demo", {});
  EXPECT_THAT(text, ::testing::HasSubstr("max_connections: 100->101"));
  EXPECT_THAT(text, ::testing::HasSubstr("shared_buffers: 128MB->256MB"));
  EXPECT_THAT(cluster_table(view, "demo", {false, false, Format::Tsv}), ::testing::HasSubstr("\t*\t"));
}

TEST(ClusterTable, CountsLagInMegabytesInEveryFormat) {
  auto view = two_nodes();
  view.members[1].receive_lsn = view.members[1].replay_lsn = view.members[1].wal_position = Lsn(0x1000060);
  const auto json = cluster_table(view, "demo", {false, false, Format::Json});
  EXPECT_THAT(json, ::testing::HasSubstr(R"("Receive Lag": 48)"));
  EXPECT_THAT(json, ::testing::HasSubstr(R"("Replay Lag": 48)"));
}

TEST(ClusterTable, TopologyIsATree) {
  auto view = two_nodes();
  auto below = member("node-2", 45432, Role::Replica);
  below.tags.replicatefrom = "node-1";
  auto lost = member("node-3", 45433, Role::Replica);
  lost.tags.replicatefrom = "nobody";
  auto itself = member("node-4", 45434, Role::Replica);
  itself.tags.replicatefrom = "node-4";
  view.members.insert(view.members.end(), {below, lost, itself});
  const auto text = cluster_table(view, "demo", {true, false, Format::Pretty});
  const auto place = [&](const char* row) { return text.find(row); };
  EXPECT_LT(place("| node-0 "), place("| + node-1 "));
  EXPECT_LT(place("| + node-1 "), place("|   + node-2 "));
  EXPECT_LT(place("|   + node-2 "), place("| + node-3 "));
  EXPECT_NE(place("| + node-4 "), std::string::npos);
}

TEST(ClusterTable, SaysWhatIsScheduledAndPaused) {
  auto view = two_nodes();
  view.config = R"({"pause":true})";
  FailoverRequest request;
  request.leader = MemberName("node-0");
  request.candidate = MemberName("node-1");
  request.scheduled_text = "2030-01-01T10:00:00+00:00";
  request.scheduled_at = WallTime(std::chrono::seconds(1893492000));
  view.failover = request;
  const auto text = cluster_table(view, "demo", {});
  EXPECT_THAT(text, ::testing::HasSubstr("\n Maintenance mode: on\n"));
  EXPECT_THAT(text, ::testing::HasSubstr(" Switchover scheduled at: 2030-01-01T10:00:00+00:00\n"));
  EXPECT_THAT(text, ::testing::HasSubstr("from: node-0\n"));
  EXPECT_THAT(text, ::testing::HasSubstr("to: node-1\n"));
}

TEST(HistoryTable, LeavesMissingCellsEmpty) {
  ClusterView view;
  view.history = {{Timeline(1), Lsn(0x3000000), "no recovery target specified", "", ""}};
  const auto text = history_table(view, Format::Tsv);
  EXPECT_THAT(text, ::testing::StartsWith("TL\tLSN\tReason\tTimestamp\tNew Leader\n"));
  EXPECT_THAT(text, ::testing::HasSubstr("1\t50331648\tno recovery target specified\t\t"));
}

TEST(YamlText, QuotesOnlyWhatWouldBeReadOtherwise) {
  EXPECT_EQ(yaml_of(R"({"b":"on","a":1,"c":{"d":"plain text","e":[1,"word"]},"f":"12","g":{},"h":""})"),
            "a: 1\nb: 'on'\nc:\n  d: plain text\n  e:\n  - 1\n  - word\nf: '12'\ng: {}\nh: ''\n");
  EXPECT_EQ(yaml_of("not json"), "");
}

}  // namespace
}  // namespace pgvigil::ctl
