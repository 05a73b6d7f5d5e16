// SHOW STATS, STATS_TOTALS, STATS_AVERAGES and TOTALS: the same twelve counters under three schemes of names.
#include <array>

#include "pool/show.h"

namespace pgvigil::pool {
namespace {

using pgwire::kNumeric;
using pgwire::kText;

struct Names {
  std::uint64_t Totals::*field;
  const char *total, *average;              // SHOW STATS
  const char *plain_total, *plain_average;  // SHOW STATS_TOTALS, STATS_AVERAGES
  const char *sum_total, *sum_average;      // SHOW TOTALS
};

constexpr std::array<Names, 12> kCounters = {{
    {&Totals::assignments, "total_server_assignment_count", "avg_server_assignment_count", "server_assignment_count",
     "server_assignment_count", "total_server_assignment_count", "avg_server_assignment_count"},
    {&Totals::transactions, "total_xact_count", "avg_xact_count", "xact_count", "xact_count", "total_xact_count",
     "avg_xact_count"},
    {&Totals::queries, "total_query_count", "avg_query_count", "query_count", "query_count", "total_query_count",
     "avg_query_count"},
    {&Totals::received, "total_received", "avg_recv", "bytes_received", "bytes_received", "total_client_bytes",
     "avg_client_bytes"},
    {&Totals::sent, "total_sent", "avg_sent", "bytes_sent", "bytes_sent", "total_server_bytes", "avg_server_bytes"},
    {&Totals::transaction_time, "total_xact_time", "avg_xact_time", "xact_time", "xact_time", "total_xact_time",
     "avg_xact_time"},
    {&Totals::query_time, "total_query_time", "avg_query_time", "query_time", "query_time", "total_query_time",
     "avg_query_time"},
    {&Totals::wait_time, "total_wait_time", "avg_wait_time", "wait_time", "wait_time", "total_wait_time",
     "avg_wait_time"},
    {&Totals::client_parses, "total_client_parse_count", "avg_client_parse_count", "client_parse_count",
     "avg_client_parse_count", "total_ps_client_parse_count", "avg_ps_client_parse_count"},
    {&Totals::server_parses, "total_server_parse_count", "avg_server_parse_count", "server_parse_count",
     "avg_server_parse_count", "total_ps_server_parse_count", "avg_ps_server_parse_count"},
    {&Totals::binds, "total_bind_count", "avg_bind_count", "bind_count", "avg_bind_count", "total_ps_bind_count",
     "avg_ps_bind_count"},
    {&Totals::logins, "total_client_login_count", "avg_client_login_count", "client_login_count",
     "avg_client_login_count", "total_client_login_count", "avg_client_login_count"},
}};

void put(std::vector<Cell>& row, const Totals& totals) {
  for (const Names& counter : kCounters) row.push_back(cell(totals.*counter.field));
}

Rows stats(const Snapshot& snapshot) {
  Rows rows;
  for (const auto& of : snapshot.statistics) {
    std::vector<Cell> row = {cell(of.database)};
    put(row, of.totals);
    put(row, of.averages);
    rows.push_back(std::move(row));
  }
  return rows;
}

Rows stats_totals(const Snapshot& snapshot) {
  Rows rows;
  for (const auto& of : snapshot.statistics) {
    std::vector<Cell> row = {cell(of.database)};
    put(row, of.totals);
    rows.push_back(std::move(row));
  }
  return rows;
}

Rows stats_averages(const Snapshot& snapshot) {
  Rows rows;
  for (const auto& of : snapshot.statistics) {
    std::vector<Cell> row = {cell(of.database)};
    put(row, of.averages);
    rows.push_back(std::move(row));
  }
  return rows;
}

Rows totals(const Snapshot& snapshot) {
  Totals sum, averages;
  // Times are averages of one query: the databases' weigh as their queries do.
  Totals weighted;
  for (const auto& of : snapshot.statistics) {
    sum += of.totals;
    averages += of.averages;
    weighted.transaction_time += of.averages.transaction_time * of.averages.transactions;
    weighted.query_time += of.averages.query_time * of.averages.queries;
    weighted.wait_time += of.averages.wait_time * of.averages.assignments;
  }
  const auto mean = [](std::uint64_t time, std::uint64_t count) { return count == 0 ? 0 : time / count; };
  averages.transaction_time = mean(weighted.transaction_time, averages.transactions);
  averages.query_time = mean(weighted.query_time, averages.queries);
  averages.wait_time = mean(weighted.wait_time, averages.assignments);
  Rows rows;
  for (const Names& counter : kCounters) rows.push_back({cell(counter.sum_total), cell(sum.*counter.field)});
  for (const Names& counter : kCounters) rows.push_back({cell(counter.sum_average), cell(averages.*counter.field)});
  return rows;
}

Columns columns(const char* Names::*first, const char* Names::*second = nullptr) {
  Columns all = {{"database", kText}};
  for (const Names& counter : kCounters) all.push_back({counter.*first, kNumeric});
  if (second == nullptr) return all;
  for (const Names& counter : kCounters) all.push_back({counter.*second, kNumeric});
  return all;
}

}  // namespace

const std::vector<ShowTable>& stats_tables() {
  static const std::vector<ShowTable> tables = {
      {"stats", kNoFacts, columns(&Names::total, &Names::average), stats},
      {"stats_totals", kNoFacts, columns(&Names::plain_total), stats_totals},
      {"stats_averages", kNoFacts, columns(&Names::plain_average), stats_averages},
      {"totals", kNoFacts, {{"name", kText}, {"value", kNumeric}}, totals},
  };
  return tables;
}

}  // namespace pgvigil::pool
