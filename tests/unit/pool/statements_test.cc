#include "pool/statements.h"

#include <gtest/gtest.h>

namespace pgvigil::pool {
namespace {

TEST(StatementTableTest, OneEntryForEachText) {
  StatementTable table;
  const StatementPtr one = table.intern("SELECT 1");
  EXPECT_EQ(table.intern("SELECT 1"), one);
  EXPECT_NE(table.intern("SELECT 2"), one);
  EXPECT_EQ(table.size(), 1U);  // nobody has kept the other
}

TEST(SeenTextsTest, OnlyATextThatComesBackGetsAnEntry) {
  StatementTable table;
  SeenTexts seen;
  EXPECT_EQ(seen.recall("SELECT 1", table), nullptr);
  EXPECT_EQ(table.size(), 0U);
  const StatementPtr second = seen.recall("SELECT 1", table);
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(second->query_and_types(), "SELECT 1");
  EXPECT_EQ(seen.recall("SELECT 1", table), second);
  EXPECT_EQ(table.intern("SELECT 1"), second);
}

TEST(SeenTextsTest, LongTextsAreNotKept) {
  StatementTable table;
  SeenTexts seen;
  const std::string text(10000, 'x');
  EXPECT_EQ(seen.recall(text, table), nullptr);
  EXPECT_NE(seen.recall(text, table), nullptr);
  for (const char* other : {"SELECT 1", "SELECT 1"}) seen.recall(other, table);
  const std::string another(10000, 'y');
  for (int i = 0; i < 2; ++i) seen.recall(another, table);
  EXPECT_EQ(table.size(), 2U);  // the short one and the last long one
}

TEST(ServerStatementsTest, RestsOnlyOnWhatIsConfirmedAndOfThisEpoch) {
  StatementTable table;
  const StatementPtr statement = table.intern("SELECT 1");
  ServerStatements there;
  EXPECT_FALSE(there.use_if_there(*statement));
  there.add(statement, 7);
  EXPECT_TRUE(there.use_if_there(*statement));
  EXPECT_FALSE(there.use_if_sure(*statement, 7));
  there.confirm(*statement);
  EXPECT_TRUE(there.use_if_sure(*statement, 7));
  EXPECT_FALSE(there.use_if_sure(*statement, 8));
}

TEST(ServerStatementsTest, EvictsTheOneThatWasUsedLeastRecently) {
  StatementTable table;
  ServerStatements there;
  std::vector<StatementPtr> statements;
  for (const char* text : {"a", "b", "c"}) {
    statements.push_back(table.intern(text));
    there.add(statements.back(), 0);
  }
  EXPECT_TRUE(there.use_if_there(*statements[0]));
  EXPECT_TRUE(there.use_if_there(*statements[0]));
  EXPECT_EQ(there.evict(2), statements[1]);
  EXPECT_EQ(there.evict(2), nullptr);
  EXPECT_EQ(there.evict(1), statements[2]);
  EXPECT_TRUE(there.has(*statements[0]));
}

}  // namespace
}  // namespace pgvigil::pool
