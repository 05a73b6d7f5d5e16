// One schedule: a cluster is created, faults strike, the faults end, and the cluster has to be whole again.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/time.h"
#include "rules.h"

namespace pgvigil::sim {

struct Outcome {
  std::optional<std::string> broken;  // the first promise that did not hold
  TimePoint broken_at;
  std::uint64_t digest = 0;  // equal for two runs of one seed
  std::uint64_t events = 0, faults = 0, promotions = 0, acknowledged_rows = 0, lost_rows = 0, guard_kills = 0;
  Duration virtual_time{0};
  Duration until_leader{0};  // from the end of the faults until somebody accepts writes
  Duration until_whole{0};   // ... until every replica streams from him
};

Outcome run_schedule(std::uint64_t seed, const Rules& rules, bool trace);

}  // namespace pgvigil::sim
