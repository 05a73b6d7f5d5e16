// The statements that set what is the pooler's own, and the position that a replica has to reach.
#include "pool/causal_reads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pgvigil::pool {
namespace {

using ::testing::HasSubstr;

TEST(OwnSetting, CausalReads) {
  for (const char* sql : {"SET causal_reads = on", "set causal_reads to 'ON';", " SET  SESSION causal_reads=true ",
                          "SET pgvigil.causal_reads TO 1"}) {
    const auto setting = parse_own_setting(sql);
    ASSERT_TRUE(setting) << sql;
    EXPECT_EQ(setting->causal_reads, true) << sql;
    EXPECT_EQ(setting->problem, "");
  }
  EXPECT_EQ(parse_own_setting("SET causal_reads = off")->causal_reads, false);
  EXPECT_THAT(parse_own_setting("SET causal_reads = perhaps")->problem, HasSubstr("on or off"));
}

TEST(OwnSetting, AfterLsn) {
  EXPECT_EQ(parse_own_setting("SET pgvigil.after_lsn = '0/3000060'")->after_lsn, Lsn(0x3000060));
  EXPECT_EQ(parse_own_setting("SET pgvigil.after_lsn TO ''")->after_lsn, Lsn());
  EXPECT_THAT(parse_own_setting("SET pgvigil.after_lsn = 'soon'")->problem, HasSubstr("position in the WAL"));
}

TEST(OwnSetting, WhatIsForPostgresql) {
  for (const char* sql :
       {"", "SET", "SELECT 1", "SET causal_reads", "SET causal_reads on", "SET search_path = causal_reads",
        "SET LOCAL causal_reads = on", "SET causal_reads = on; SELECT 1", "SET pgvigil.other = 1", "RESET causal_reads",
        "SET pgvigil.after_lsn = '0/1'; DROP TABLE t; --'"}) {
    EXPECT_FALSE(parse_own_setting(sql)) << sql;
  }
}

TEST(ReplayGoal, APageWithNothingBehindItsHeaderIsNotWaitedFor) {
  EXPECT_EQ(replay_goal(Lsn(0x3002000 + 24)), Lsn(0x3002000));
  EXPECT_EQ(replay_goal(Lsn(0x3002000 + 32)), Lsn(0x3002020));
  EXPECT_EQ(replay_goal(Lsn(0x3002000)), Lsn(0x3002000));
}

}  // namespace
}  // namespace pgvigil::pool
