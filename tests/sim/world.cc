#include "world.h"

#include <cstdio>

namespace pgvigil::sim {

World::EventId World::at(TimePoint when, std::function<void()> call) {
  const EventId id{when < now_ ? now_ : when, ++last_number_};
  events_.emplace(id, std::move(call));
  return id;
}

bool World::step(TimePoint limit) {
  const auto next = events_.begin();
  if (next == events_.end() || next->first.when > limit) return false;
  now_ = next->first.when;
  digest_ = (digest_ ^ next->first.number ^ static_cast<std::uint64_t>(now_.since_boot().count())) * 1099511628211ULL;
  const auto call = std::move(next->second);
  events_.erase(next);
  call();
  if (check_) check_();
  return true;
}

Duration World::between(Duration low, Duration high) {
  if (high <= low) return low;
  return low + Duration(static_cast<std::int64_t>(rng_.below(static_cast<std::uint64_t>((high - low).count()))));
}

void World::say(const std::string& line) const {
  std::printf("%10.4f %s\n", seconds_of(now_.since_boot()), line.c_str());
}

void World::write(LogLevel level, std::string_view room, std::string_view message) {
  const char* mark = level == LogLevel::Info ? "" : level == LogLevel::Warning ? "WARNING " : "ERROR ";
  say(fmt::format("  {} {}: {}{}", speaker, room, mark, message));
}

TimePoint MachineClock::true_time(TimePoint reading) const {
  const auto shown = (reading.since_boot() - offset_).count();
  TimePoint guess(Duration(shown - shown / 1'000'000 * ppm_));
  while (local(guess) < reading) guess = guess + std::chrono::microseconds(1);
  return guess;
}

}  // namespace pgvigil::sim
