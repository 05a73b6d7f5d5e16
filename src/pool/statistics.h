// Counters of one pool on one worker: one writer, read by the console and the metrics at any time.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/time.h"

namespace pgvigil::pool {

class Counter {
 public:
  void add(std::uint64_t n) { value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

// In the order of SHOW STATS. Times in microseconds.
struct Totals {
  std::uint64_t assignments = 0, transactions = 0, queries = 0, received = 0, sent = 0;
  std::uint64_t transaction_time = 0, query_time = 0, wait_time = 0;
  std::uint64_t client_parses = 0, server_parses = 0, binds = 0, logins = 0;

  Totals& operator+=(const Totals& other) {
    assignments += other.assignments;
    transactions += other.transactions;
    queries += other.queries;
    received += other.received;
    sent += other.sent;
    transaction_time += other.transaction_time;
    query_time += other.query_time;
    wait_time += other.wait_time;
    client_parses += other.client_parses;
    server_parses += other.server_parses;
    binds += other.binds;
    logins += other.logins;
    return *this;
  }
};

struct ShardStatistics {
  Counter assignments, transactions, queries, received, sent, transaction_time, query_time, wait_time;
  Counter client_parses, server_parses, binds, logins;

  [[nodiscard]] Totals totals() const {
    return {assignments.get(),   transactions.get(),     queries.get(),    received.get(),
            sent.get(),          transaction_time.get(), query_time.get(), wait_time.get(),
            client_parses.get(), server_parses.get(),    binds.get(),      logins.get()};
  }
};

inline std::uint64_t micros(Duration d) {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(d).count());
}

}  // namespace pgvigil::pool
