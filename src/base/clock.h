// The one way in which coordination code reads time and waits. Production: SystemClock over CLOCK_BOOTTIME.
// Simulator: a virtual clock. Everything runs on the single thread of the clock's executor.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>

#include "base/time.h"

namespace pgvigil {

namespace asio = boost::asio;

template <class T>
using Task = asio::awaitable<T>;

class Clock {
 public:
  using TimerId = std::uint64_t;

  virtual ~Clock() = default;
  [[nodiscard]] virtual TimePoint now() const = 0;
  [[nodiscard]] virtual WallTime wall() const = 0;
  // Runs `call` on the executor once, not before `when`, never from inside call_at. Destroying the clock drops it.
  virtual TimerId call_at(TimePoint when, std::function<void()> call) = 0;
  virtual void cancel(TimerId timer) = 0;  // no effect on a timer that has run
  [[nodiscard]] virtual asio::any_io_executor executor() = 0;
};

Task<void> sleep_until(Clock& clock, TimePoint when);
inline Task<void> sleep_for(Clock& clock, Duration length) { return sleep_until(clock, clock.now() + length); }

// A wake-up with memory: notify() wakes every waiter, or, when nobody waits, the next wait returns at once.
class Signal {
 public:
  explicit Signal(Clock& clock) : clock_(clock) {}
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;

  void notify();
  // True when notified, false when the deadline came first. Resumes through the executor, never inline.
  Task<bool> wait_until(TimePoint deadline);

 private:
  struct Waiter;
  Clock& clock_;
  bool pending_ = false;
  std::deque<std::shared_ptr<Waiter>> waiters_;
};

// CLOCK_BOOTTIME over one timerfd on the given executor.
std::unique_ptr<Clock> make_system_clock(asio::any_io_executor executor);

}  // namespace pgvigil
