// Averages over one to two periods, on a clock of the test's own.
#include "pool/pool_statistics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pgvigil::pool {
namespace {

Totals totals(std::uint64_t queries, std::uint64_t query_time) {
  Totals t;
  t.queries = t.transactions = t.assignments = queries;
  t.query_time = query_time;
  t.transaction_time = 2 * query_time;
  t.wait_time = query_time / 2;
  t.received = queries * 100;
  t.sent = queries * 1000;
  t.client_parses = t.server_parses = t.binds = t.logins = queries / 10;
  return t;
}

constexpr TimePoint kStart(1000s);

TEST(Statistics, ARowsAverageIsASecondsShare) {
  const Totals a = average(totals(1300, 60000), totals(100, 0), 60s);
  EXPECT_EQ(a.queries, 20U);
  EXPECT_EQ(a.received, 2000U);
  EXPECT_EQ(a.sent, 20000U);
  EXPECT_EQ(a.client_parses, 2U);
  EXPECT_EQ(a.query_time, 50U);         // of one query
  EXPECT_EQ(a.transaction_time, 100U);  // of one transaction
  EXPECT_EQ(a.wait_time, 25U);          // of one assignment
}

TEST(Statistics, NothingIsTheAverageOfNothing) {
  EXPECT_EQ(average(totals(10, 10), totals(0, 0), 0s).queries, 0U);
  EXPECT_EQ(average(totals(10, 10), totals(10, 10), 60s).query_time, 0U);
  EXPECT_EQ(average(totals(1, 1), totals(10, 10), 60s).queries, 0U) << "counters of a database that was made anew";
}

TEST(Statistics, TheWindowIsOneToTwoPeriods) {
  Statistics statistics(kStart);
  EXPECT_EQ(statistics.rows({{"a", totals(100, 0)}}, kStart + 10s)[0].averages.queries, 10U);
  statistics.end_period({{"a", totals(600, 0)}}, kStart + 60s);
  // The first period belongs to the window still.
  EXPECT_EQ(statistics.rows({{"a", totals(900, 0)}}, kStart + 90s)[0].averages.queries, 10U);
  statistics.end_period({{"a", totals(1200, 0)}}, kStart + 120s);
  // From here on it does not.
  EXPECT_EQ(statistics.rows({{"a", totals(1200, 0)}}, kStart + 120s)[0].averages.queries, 10U);
  EXPECT_EQ(statistics.rows({{"a", totals(1200, 0)}}, kStart + 180s)[0].averages.queries, 5U);
  statistics.end_period({{"a", totals(1200, 0)}}, kStart + 180s);
  EXPECT_EQ(statistics.rows({{"a", totals(1200, 0)}}, kStart + 180s)[0].averages.queries, 0U);
}

TEST(Statistics, ADatabaseThatIsNewHasNoPast) {
  Statistics statistics(kStart);
  statistics.end_period(Statistics::Sums{}, kStart + 60s);
  statistics.end_period(Statistics::Sums{}, kStart + 120s);
  const auto rows = statistics.rows({{"a", totals(0, 0)}, {"b", totals(600, 0)}}, kStart + 120s);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[1].database, "b");
  EXPECT_EQ(rows[1].averages.queries, 10U);
  EXPECT_EQ(rows[1].totals.queries, 600U);
}

TEST(Statistics, TheLogLineIsOfTheLastPeriodAndAllDatabases) {
  Statistics statistics(kStart);
  statistics.end_period({{"a", totals(1000, 0)}}, kStart + 60s);
  EXPECT_EQ(statistics.end_period({{"a", totals(1600, 60000)}, {"b", totals(600, 60000)}}, kStart + 120s),
            "stats: 20 xacts/s, 20 queries/s, 2 client parses/s, 2 server parses/s, 2 binds/s, 2 client logins/s, "
            "in 2000 B/s, out 20000 B/s, xact 200 us, query 100 us, wait 50 us");
}

}  // namespace
}  // namespace pgvigil::pool
