#include "base/time.h"

#include <fmt/format.h>

#include <ctime>

namespace pgvigil {

TimePoint boottime_now() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return TimePoint(std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec));
}

std::string iso8601(WallTime t) {
  const auto day = std::chrono::floor<std::chrono::days>(t);
  const std::chrono::year_month_day date(day);
  const auto rest = t - day;
  const auto hours = std::chrono::duration_cast<std::chrono::hours>(rest);
  const auto minutes = std::chrono::duration_cast<std::chrono::minutes>(rest - hours);
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(rest - hours - minutes);
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(rest - hours - minutes - seconds);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}+00:00", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), hours.count(),
                     minutes.count(), seconds.count(), micros.count());
}

}  // namespace pgvigil
