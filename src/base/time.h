// Points in time and lengths of time. No clock here: see clock.h.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <string>

namespace pgvigil {

using Duration = std::chrono::nanoseconds;
using namespace std::chrono_literals;  // NOLINT: durations are written as 500ms everywhere

// A reading of this machine's CLOCK_BOOTTIME, which counts suspension. Readings of two machines do not compare.
// Every deadline in pgvigil is a TimePoint: callees spend what is left of it and never start their own.
class TimePoint {
 public:
  constexpr TimePoint() = default;
  constexpr explicit TimePoint(Duration since_boot) : since_boot_(since_boot) {}

  [[nodiscard]] constexpr Duration since_boot() const { return since_boot_; }
  static constexpr TimePoint max() { return TimePoint(Duration::max()); }

  friend constexpr auto operator<=>(TimePoint, TimePoint) = default;
  friend constexpr TimePoint operator+(TimePoint t, Duration d) { return TimePoint(t.since_boot_ + d); }
  friend constexpr TimePoint operator-(TimePoint t, Duration d) { return TimePoint(t.since_boot_ - d); }
  friend constexpr Duration operator-(TimePoint a, TimePoint b) { return a.since_boot_ - b.since_boot_; }

 private:
  Duration since_boot_{0};
};

// Wall time, for what people and peers read (schedules, history). It decides nothing about safety.
using WallTime = std::chrono::time_point<std::chrono::system_clock, std::chrono::microseconds>;

constexpr double seconds_of(Duration d) { return std::chrono::duration<double>(d).count(); }

// Reads CLOCK_BOOTTIME. Only clock implementations and the guard call it; everything else asks its Clock.
TimePoint boottime_now();

// ISO 8601 with microseconds and offset +00:00, as the REST API and etcd carry it: 2026-01-24T02:13:52.281130+00:00.
std::string iso8601(WallTime t);

}  // namespace pgvigil
