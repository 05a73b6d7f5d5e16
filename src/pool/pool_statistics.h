// The sums of all workers' counters by database, and their averages. On the control thread.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/time.h"
#include "pool/statistics.h"

namespace pgvigil::pool {

class Catalog;

// What happened between two readings: counts a second; transaction_time for each transaction, query_time for each
// query, wait_time for each assignment.
Totals average(const Totals& now, const Totals& then, Duration window);

class Statistics {
 public:
  using Sums = std::map<std::string, Totals, std::less<>>;
  struct Row {
    std::string database;
    Totals totals, averages;
  };

  explicit Statistics(TimePoint now) : older_at_(now), newer_at_(now) {}

  // Of the console, which is a database with a pool in every table.
  ShardStatistics console;
  std::size_t console_sessions = 0;

  [[nodiscard]] Sums sums(const Catalog& catalog) const;

  // Every stats_period. The result is the text of the log line (log_stats), which is systemd's STATUS= too.
  std::string end_period(const Catalog& catalog, TimePoint now) { return end_period(sums(catalog), now); }
  std::string end_period(Sums current, TimePoint now);

  // Averages are over a window of one to two periods that ends now, so that they never rest on an empty one.
  [[nodiscard]] std::vector<Row> rows(const Sums& current, TimePoint now) const;

 private:
  Sums older_, newer_;  // at the ends of the last two periods
  TimePoint older_at_, newer_at_;
};

}  // namespace pgvigil::pool
