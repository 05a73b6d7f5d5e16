#include <gtest/gtest.h>

#include "model/lsn.h"
#include "model/member.h"
#include "model/slot_name.h"

namespace pgvigil {
namespace {

TEST(Lsn, IsSpelledAsPostgresqlDoes) {
  EXPECT_EQ(to_string(Lsn(67108960)), "0/4000060");
  EXPECT_EQ(parse_lsn("0/4000060"), Lsn(67108960));
  EXPECT_EQ(parse_lsn("16/B374D848"), Lsn(0x16B374D848ULL));
}

TEST(Lsn, RefusesWhatIsNone) {
  for (const char* text : {"", "/", "0", "0/", "/0", "x/1", "0/1 ", " 0/1", "123456789/1", "0/123456789"}) {
    EXPECT_FALSE(parse_lsn(text)) << text;
  }
}

TEST(SlotName, FollowsTheRuleOfPatroni) {
  EXPECT_EQ(slot_name_of(MemberName("node-1.example")), "node_1_example");
  EXPECT_EQ(slot_name_of(MemberName("Node A")), "nodeu0032a");
  EXPECT_EQ(slot_name_of(MemberName("\xC3\xA9")), "u0233");
  EXPECT_EQ(slot_name_of(MemberName(std::string(80, 'a'))).size(), 63U);
}

TEST(Role, OldSpellingsAreRead) {
  EXPECT_EQ(parse_role("master"), Role::Leader);
  EXPECT_EQ(parse_role("primary"), Role::Leader);
  EXPECT_EQ(parse_role("standby_leader"), Role::StandbyLeader);
  EXPECT_FALSE(parse_role("boss"));
}

}  // namespace
}  // namespace pgvigil
