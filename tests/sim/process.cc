#include "process.h"

namespace pgvigil::sim {

asio::any_io_executor SimClock::executor() { return process_.loop().get_executor(); }

Clock::TimerId SimClock::call_at(TimePoint when, std::function<void()> call) {
  const TimerId id = ++last_timer_;
  World::EventId event;
  // Nothing that lies beyond a day happens in a schedule.
  if (when - now() < std::chrono::hours(24)) {
    event = world_.at(machine_.true_time(when), [this, id, process = process_.weak_from_this()] {
      const auto alive = process.lock();
      if (!alive || !alive->alive()) return;
      alive->deliver([this, id] {
        auto found = timers_.extract(id);
        if (!found.empty()) found.mapped().second();
      });
    });
  }
  timers_.emplace(id, std::pair(event, std::move(call)));
  return id;
}

void SimClock::cancel(TimerId timer) {
  const auto found = timers_.extract(timer);
  if (!found.empty()) world_.cancel(found.mapped().first);
}

void SimClock::drop_all() {
  auto timers = std::move(timers_);
  timers_.clear();
  for (const auto& [id, timer] : timers) world_.cancel(timer.first);
}

void Process::deliver(std::function<void()> call) {
  if (!alive_) return;
  if (frozen_) {
    inbox_.push_back(std::move(call));
    return;
  }
  asio::post(loop_, std::move(call));
  if (!pumping_) pump();  // else it called the world, and the world answers at once
}

void Process::pump() {
  pumping_ = true;
  world_.speaker = name_;
  loop_.restart();
  loop_.poll();
  pumping_ = false;
}

void Process::thaw() {
  frozen_ = false;
  auto waiting = std::move(inbox_);
  inbox_.clear();
  for (auto& call : waiting) asio::post(loop_, std::move(call));
  if (alive_) pump();
}

void Process::kill(const std::function<void()>& destroy) {
  alive_ = false;
  inbox_.clear();
  // Dropping the handlers that coroutines wait on posts the end of those coroutines to the loop; their frames have to
  // go while the objects that they use still exist.
  for (int round = 0; round < 3; ++round) {
    slots_.clear();
    clock.drop_all();
    loop_.restart();
    loop_.poll();
  }
  destroy();
  loop_.restart();
  loop_.poll();
}

}  // namespace pgvigil::sim
