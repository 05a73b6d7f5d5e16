// Virtual time: a queue of events, the chance that all of a schedule comes from, and the trace. Nothing in the
// simulator reads a real clock, so a seed replays exactly.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/rng.h"
#include "base/time.h"

namespace pgvigil::sim {

class World final : public LogSink {
 public:
  struct EventId {
    TimePoint when;
    std::uint64_t number = 0;  // 0: none
    friend auto operator<=>(const EventId&, const EventId&) = default;
  };

  World(std::uint64_t seed, bool trace) : rng_(seed), trace_(trace) {}

  [[nodiscard]] TimePoint now() const { return now_; }
  EventId at(TimePoint when, std::function<void()> call);
  EventId after(Duration wait, std::function<void()> call) { return at(now_ + wait, std::move(call)); }
  void cancel(EventId event) { events_.erase(event); }
  // Runs the next event; false when there is none, or none up to `limit`.
  bool step(TimePoint limit);
  // Runs after every event.
  void on_step(std::function<void()> check) { check_ = std::move(check); }

  Rng& rng() { return rng_; }
  bool chance(double probability) { return rng_.chance(probability); }
  std::size_t below(std::size_t bound) { return static_cast<std::size_t>(rng_.below(bound)); }
  Duration between(Duration low, Duration high);

  // A line of the trace, and a part of the digest by which two runs of a seed are compared.
  template <class... Args>
  void note(fmt::format_string<Args...> format, Args&&... args) {
    if (trace_) say(fmt::format(format, std::forward<Args>(args)...));
  }
  [[nodiscard]] bool traced() const { return trace_; }
  [[nodiscard]] std::uint64_t digest() const { return digest_; }
  [[nodiscard]] std::uint64_t events() const { return last_number_; }

  // The agents' log lines; `speaker` names whose turn it is.
  void write(LogLevel level, std::string_view room, std::string_view message) override;
  [[nodiscard]] bool enabled(LogLevel level) const override { return trace_ && level != LogLevel::Debug; }
  std::string speaker;

 private:
  void say(const std::string& line) const;

  TimePoint now_;
  Rng rng_;
  bool trace_;
  std::map<EventId, std::function<void()>> events_;
  std::uint64_t last_number_ = 0;
  std::uint64_t digest_ = 14695981039346656037ULL;
  std::function<void()> check_;
};

// What a machine's CLOCK_BOOTTIME shows: it began at another time and runs a little fast or slow.
class MachineClock {
 public:
  MachineClock() = default;
  MachineClock(Duration offset, int parts_per_million) : offset_(offset), ppm_(parts_per_million) {}
  [[nodiscard]] TimePoint local(TimePoint when) const {
    const auto t = when.since_boot().count();
    return TimePoint(offset_ + Duration(t + t / 1'000'000 * ppm_));
  }
  // The first true moment at which this clock shows `reading`.
  [[nodiscard]] TimePoint true_time(TimePoint reading) const;

 private:
  Duration offset_{0};
  int ppm_ = 0;
};

}  // namespace pgvigil::sim
