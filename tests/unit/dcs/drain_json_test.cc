// What agent and poolers write for each other.
#include <gtest/gtest.h>

#include "dcs/member_json.h"

namespace pgvigil::dcs {
namespace {

using std::chrono::milliseconds;

TEST(DrainJson, ARequestSurvivesARoundTrip) {
  DrainRequest request;
  request.id = "92-105";
  request.reason = "restart";
  request.leader = MemberName("node1");
  request.term = Term(Revision(9007199254740993));  // larger than what a double keeps exact
  request.timeout = milliseconds(2500);
  const std::string json = drain_to_json(request);
  EXPECT_EQ(json, R"({"id":"92-105","reason":"restart","leader":"node1","term":"9007199254740993","timeout":2.5})");
  const auto read = parse_drain(json);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->id, request.id);
  EXPECT_EQ(read->reason, request.reason);
  EXPECT_EQ(read->leader, request.leader);
  EXPECT_EQ(read->term, request.term);
  EXPECT_EQ(read->timeout, request.timeout);
  EXPECT_EQ(parse_drain(R"({"id":"1-2","leader":"a","term":7})")->term, Term(Revision(7)));
}

TEST(DrainJson, APoolersRecordSurvivesARoundTrip) {
  const auto read =
      parse_pooler("p1", R"({"name":"p1","host":"h","pid":123,"version":"0.1.0","listen":"h:6432","term":"92",)"
                         R"("drain":{"id":"92-105","state":"draining","active":3,"waiting":40}})");
  EXPECT_EQ(read.listen, "h:6432");
  EXPECT_EQ(read.term, Term(Revision(92)));
  ASSERT_TRUE(read.drain);
  EXPECT_FALSE(read.drain->drained);
  EXPECT_EQ(read.drain->active, 3U);
  EXPECT_EQ(read.drain->waiting, 40U);
  const auto again = parse_pooler("p1", pooler_to_json(read));
  ASSERT_TRUE(again.drain);
  EXPECT_EQ(again.drain->id, "92-105");
  EXPECT_EQ(again.term, read.term);
}

TEST(DrainJson, HostileTextAsksForNothingAndHasNotDrained) {
  for (const std::string text : {"", "null", "[]", "{", "\"x\"", R"({"id":5,"leader":"a"})", R"({"id":"1-2"})"}) {
    EXPECT_FALSE(parse_drain(text)) << text;
    const auto pooler = parse_pooler("p", text);
    EXPECT_EQ(pooler.name, "p");
    EXPECT_FALSE(pooler.drain) << text;
    EXPECT_FALSE(parse_drain_note(text) && parse_drain_note(text)->leader.empty());
  }
  const auto odd = parse_pooler("p", R"({"term":-1e99,"drain":{"id":[],"state":7,"active":-4,"waiting":1e300}})");
  ASSERT_TRUE(odd.drain);
  EXPECT_FALSE(odd.drain->drained);
  EXPECT_EQ(odd.drain->active, 0U);
  EXPECT_EQ(parse_drain(R"({"id":"x","leader":"a","timeout":1e300})")->timeout, std::chrono::seconds(1000000));
  EXPECT_EQ(parse_drain(R"({"id":"x","leader":"a","timeout":-1})")->timeout, Duration(0));
}

TEST(DrainJson, TheNoteForTheHistorySurvivesARoundTrip) {
  DrainNote note;
  note.leader = MemberName("node1");
  note.timeline = Timeline(4);
  note.reason = "switchover";
  note.waited = milliseconds(125);
  note.poolers = 3;
  note.undrained = 1;
  note.active = 7;
  const auto read = parse_drain_note(drain_note_to_json(note));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->leader, note.leader);
  EXPECT_EQ(read->timeline, note.timeline);
  EXPECT_EQ(read->waited, note.waited);
  EXPECT_EQ(read->undrained, 1U);
  EXPECT_EQ(read->active, 7U);
}

}  // namespace
}  // namespace pgvigil::dcs
