// One schedule: a cluster is created, faults strike, the faults end, and the cluster has to be whole again.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/time.h"
#include "rules.h"

namespace pgvigil::sim {

// What schedules add up to. Trivially copyable: it lies in memory that processes share.
struct Totals {
  std::uint64_t schedules = 0, events = 0, faults = 0, promotions = 0, acknowledged_rows = 0, lost_rows = 0,
                guard_kills = 0, crash_handovers = 0, promises = 0, failsafe_expiries = 0, drains = 0;
  Duration virtual_time{0};
  // From the end of the faults until somebody accepts writes, and until every replica streams from him; the longest.
  Duration until_leader{0}, until_whole{0};

  void add(const Totals& other);
};

struct Outcome {
  std::optional<std::string> broken;  // the first promise that did not hold
  TimePoint broken_at;
  std::uint64_t digest = 0;  // equal for two runs of one seed
  Totals totals;             // of this one
};

Outcome run_schedule(std::uint64_t seed, const Rules& rules, bool trace);

}  // namespace pgvigil::sim
