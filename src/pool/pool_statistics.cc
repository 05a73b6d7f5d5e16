#include "pool/pool_statistics.h"

#include <fmt/format.h>

namespace pgvigil::pool {
namespace {

// Counters only grow, but a database may have been made anew since the last reading.
std::uint64_t grown(std::uint64_t now, std::uint64_t then) { return now > then ? now - then : 0; }

Totals at(const Statistics::Sums& sums, const std::string& database) {
  const auto found = sums.find(database);
  return found == sums.end() ? Totals{} : found->second;
}

Totals whole(const Statistics::Sums& sums) {
  Totals all;
  for (const auto& [database, totals] : sums) all += totals;
  return all;
}

}  // namespace

Totals average(const Totals& now, const Totals& then, Duration window) {
  Totals result;
  const auto us = static_cast<double>(micros(window));
  if (window <= Duration::zero() || us <= 0) return result;
  const auto rate = [&](std::uint64_t Totals::*field) {
    result.*field = static_cast<std::uint64_t>(static_cast<double>(grown(now.*field, then.*field)) * 1e6 / us);
  };
  for (const auto field :
       {&Totals::assignments, &Totals::transactions, &Totals::queries, &Totals::received, &Totals::sent,
        &Totals::client_parses, &Totals::server_parses, &Totals::binds, &Totals::logins}) {
    rate(field);
  }
  const auto each = [&](std::uint64_t Totals::*time, std::uint64_t Totals::*count) {
    const std::uint64_t n = grown(now.*count, then.*count);
    if (n > 0) result.*time = grown(now.*time, then.*time) / n;
  };
  each(&Totals::transaction_time, &Totals::transactions);
  each(&Totals::query_time, &Totals::queries);
  each(&Totals::wait_time, &Totals::assignments);
  return result;
}

std::string Statistics::end_period(Sums current, TimePoint now) {
  older_ = std::move(newer_);
  older_at_ = newer_at_;
  newer_ = std::move(current);
  newer_at_ = now;
  const Totals a = average(whole(newer_), whole(older_), now - older_at_);
  return fmt::format(
      "stats: {} xacts/s, {} queries/s, {} client parses/s, {} server parses/s, {} binds/s, {} client logins/s, "
      "in {} B/s, out {} B/s, xact {} us, query {} us, wait {} us",
      a.transactions, a.queries, a.client_parses, a.server_parses, a.binds, a.logins, a.received, a.sent,
      a.transaction_time, a.query_time, a.wait_time);
}

std::vector<Statistics::Row> Statistics::rows(const Sums& current, TimePoint now) const {
  std::vector<Row> rows;
  rows.reserve(current.size());
  for (const auto& [database, totals] : current) {
    rows.push_back({database, totals, average(totals, at(older_, database), now - older_at_)});
  }
  return rows;
}

}  // namespace pgvigil::pool
