// What agent and guard say to each other: fixed messages of one size over a SOCK_SEQPACKET Unix socket, both ends on
// one machine and from one build.
#pragma once

#include <cstdint>

namespace pgvigil::guard {

inline constexpr std::uint32_t kMagic = 0x70677631;  // "pgv1": another version is refused, not misread

enum class Op : std::uint32_t { Status = 1, Arm = 2, Disarm = 3 };

struct Request {
  std::uint32_t magic = kMagic;
  Op op = Op::Status;
  std::int64_t deadline_ns = 0;  // CLOCK_BOOTTIME
  std::int64_t pid = 0;
};

struct Reply {
  std::uint32_t magic = kMagic;
  std::int32_t error = 0;  // errno; 0: done
  std::int64_t deadline_ns = 0;
  std::int64_t pid = 0;  // 0: disarmed
  std::uint64_t kills = 0;
};

}  // namespace pgvigil::guard
