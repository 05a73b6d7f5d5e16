// A client that writes numbered rows one after the other, as an application does, and remembers what was acknowledged.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "ctl/sql.h"

namespace pgvigil::ctl {

inline constexpr const char* kProbeTable = "pgvigil_drill_probe";

struct ProbeResult {
  std::uint64_t errors = 0;
  std::string first_error;
  Duration longest_gap{0};              // between two acknowledged writes, or the last one and the end
  std::set<std::int64_t> acknowledged;  // their numbers
  std::uint64_t connections = 0;        // that it has opened
};

// Pure: the longest time without an acknowledgement from `begin` to `end`.
Duration longest_gap(std::chrono::steady_clock::time_point begin,
                     const std::vector<std::chrono::steady_clock::time_point>& acknowledged,
                     std::chrono::steady_clock::time_point end);

class Probe {
 public:
  // Writes rows (`series`, 1), (`series`, 2), ... until stop().
  Probe(ConnectionParameters parameters, std::string series);
  ~Probe();
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  [[nodiscard]] std::uint64_t writes() const { return writes_.load(); }
  ProbeResult stop();  // may be called again

 private:
  void run();

  ConnectionParameters parameters_;
  std::string series_;
  std::atomic<bool> stopping_{false};
  std::atomic<std::uint64_t> writes_{0};
  // Of the thread until it is joined.
  ProbeResult result_;
  std::vector<std::chrono::steady_clock::time_point> times_;
  std::chrono::steady_clock::time_point began_;
  std::thread thread_;
};

}  // namespace pgvigil::ctl
