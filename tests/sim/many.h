// Many schedules in several processes: a schedule that aborts takes only its own process with it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "rules.h"
#include "schedule.h"

namespace pgvigil::sim {

struct Many {
  std::uint64_t first = 1, count = 1;
  unsigned jobs = 1;
  bool replay_some = false;  // run every hundredth twice and compare
};

struct Failure {
  std::uint64_t seed = 0;
  std::string what;
};

struct Summary {
  Totals totals;
  std::optional<Failure> failure;  // the lowest seed that failed; the others were not waited for
};

Summary run_many(const Many& many, const Rules& rules);

}  // namespace pgvigil::sim
