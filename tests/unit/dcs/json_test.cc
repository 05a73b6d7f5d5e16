#include "dcs/member_json.h"

#include <gtest/gtest.h>

namespace pgvigil::dcs {
namespace {

TEST(MemberJson, IsWrittenInTheOrderOfTheInterface) {
  Member m;
  m.conn_url = "postgres://10.0.0.1:5432/postgres";
  m.api_url = "http://10.0.0.1:8008/patroni";
  m.state = InstanceState::Running;
  m.role = Role::Leader;
  m.version = "4.1.0";
  m.checkpoint_after_promote = false;
  m.raw_tags = R"({"clonefrom":true})";
  m.wal_position = Lsn(67108960);
  m.timeline = Timeline(2);
  EXPECT_EQ(member_to_json(m),
            R"({"conn_url":"postgres://10.0.0.1:5432/postgres","api_url":"http://10.0.0.1:8008/patroni",)"
            R"("state":"running","role":"primary","version":"4.1.0","checkpoint_after_promote":false,)"
            R"("tags":{"clonefrom":true},"xlog_location":67108960,"timeline":2})");
}

TEST(MemberJson, SurvivesARoundTrip) {
  Member m;
  m.conn_url = "postgres://[2001:db8::1]:6000/app";
  m.state = InstanceState::CreatingReplica;
  m.role = Role::Replica;
  m.pending_restart_flag = true;
  m.pending_restart["max_connections"] = {"100", "110"};
  m.progress = "copied 41 % of 3.2 GB";
  m.problem = "no pg_hba.conf entry";
  m.pause = true;
  const Member read = parse_member(MemberName("x"), member_to_json(m));
  EXPECT_EQ(read.host, "2001:db8::1");
  EXPECT_EQ(read.port, 6000);
  EXPECT_EQ(read.state, InstanceState::CreatingReplica);
  EXPECT_EQ(read.pending_restart.at("max_connections"), (PendingChange{"100", "110"}));
  EXPECT_EQ(read.progress, m.progress);
  EXPECT_EQ(read.problem, m.problem);
  EXPECT_TRUE(read.pause);
}

TEST(MemberJson, OldPeersLeaderIsALeader) {
  EXPECT_EQ(parse_member(MemberName("x"), R"({"role":"master","state":"running"})").role, Role::Leader);
}

TEST(MemberJson, HostileTextIsAnEmptyMember) {
  for (const std::string text :
       {"", "null", "[]", "{", "\"x\"", R"({"conn_url":5,"tags":[],"timeline":-1,"xlog_location":1e99})",
        R"({"timeline":99999999999,"xlog_location":-5,"pending_restart_reason":{"a":3}})"}) {
    const Member m = parse_member(MemberName("x"), text);
    EXPECT_FALSE(m.timeline.known()) << text;
    EXPECT_FALSE(m.wal_position.known()) << text;
  }
  EXPECT_NO_THROW(parse_member(MemberName("x"), std::string(100000, '[')));
}

TEST(Status, IsReadInItsForms) {
  EXPECT_EQ(parse_status("12345").optime, Lsn(12345));
  const auto status = parse_status(R"({"optime": "7", "slots": "{\"a\": 5}", "retain_slots": ["a", 3]})");
  EXPECT_EQ(status.optime, Lsn(7));
  EXPECT_EQ(status.slots.at("a"), Lsn(5));
  EXPECT_EQ(status.retain_slots, std::vector<std::string>{"a"});
  EXPECT_EQ(status_to_json({Lsn(9), {{"b", Lsn(4)}}, {"b"}}), R"({"optime":9,"slots":{"b":4},"retain_slots":["b"]})");
}

TEST(Failover, NamesSomebodyOrIsNone) {
  EXPECT_FALSE(parse_failover("{}"));
  EXPECT_FALSE(parse_failover(R"({"scheduled_at":"2026-01-24T02:13:52+00:00"})"));
  EXPECT_FALSE(parse_failover(R"({"leader":"a","scheduled_at":"tomorrow"})")) << "must not turn into now";
  EXPECT_EQ(parse_failover("a:b")->candidate, MemberName("b"));
  const auto scheduled = parse_failover(R"({"leader":"a","member":"b","scheduled_at":"2026-01-24T02:13:52.5+02:00"})");
  ASSERT_TRUE(scheduled && scheduled->scheduled_at);
  EXPECT_EQ(iso8601(*scheduled->scheduled_at), "2026-01-24T00:13:52.500000+00:00");
}

TEST(History, KeepsItsEntries) {
  const std::string text = R"([[1,100,"no recovery target specified","2026-01-24T00:00:00+00:00","b"],[2,200,"x"]])";
  const auto history = parse_history(text);
  ASSERT_EQ(history.size(), 2U);
  EXPECT_EQ(history[0].new_leader, "b");
  EXPECT_EQ(history_to_json(history), text);
}

TEST(Sync, KeepsItsNames) {
  const auto sync = parse_sync(R"({"leader":"a","quorum":1,"sync_standby":"b,c"})");
  EXPECT_EQ(sync.standbys, (std::vector<MemberName>{MemberName("b"), MemberName("c")}));
  EXPECT_EQ(sync_to_json(sync), R"({"leader":"a","quorum":1,"sync_standby":"b,c"})");
  EXPECT_EQ(sync_to_json({}), R"({"leader":null,"quorum":0,"sync_standby":null})");
}

TEST(Tags, PriorityZeroMeansNofailover) {
  EXPECT_TRUE(parse_tags(R"({"failover_priority": 0})").nofailover);
  EXPECT_FALSE(parse_tags(R"({"failover_priority": 0, "nofailover": false})").nofailover);
  EXPECT_EQ(parse_tags(R"({"failover_priority": "3"})").failover_priority, 3);
}

}  // namespace
}  // namespace pgvigil::dcs
