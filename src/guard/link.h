// The port to the guard: the small process that kills PostgreSQL when the leader's lease can no longer be proven.
// Implemented over a Unix socket (guard/unix_link.h) and by the simulator.
#pragma once

#include <cstdint>
#include <optional>

#include "base/error.h"
#include "base/time.h"

namespace pgvigil::guard {

struct GuardStatus {
  std::int64_t postmaster_pid = 0;  // 0: disarmed
  TimePoint deadline;               // meaningful while armed
  std::uint64_t kills = 0;          // how often this guard has enforced a deadline
};

class GuardLink {
 public:
  virtual ~GuardLink() = default;

  // From now on the postmaster and all its children are killed at `deadline` (CLOCK_BOOTTIME). Returns only after the
  // guard has confirmed it. Called again with a later deadline it extends; an earlier one shortens. Refused when the
  // deadline has passed already. Blocks at most 100 ms; an error means that nothing is known to be armed.
  virtual Result<void> arm(TimePoint deadline, std::int64_t postmaster_pid) = 0;
  // The node is no leader any more (PostgreSQL is stopped or is a replica): nothing will be killed. A guard
  // that does not answer is ended: its deadline would strike at whatever works in the data directory by then.
  virtual Result<void> disarm() = 0;
  virtual Result<GuardStatus> status() = 0;
};

}  // namespace pgvigil::guard
