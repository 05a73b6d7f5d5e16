// One incarnation of an agent's process: its executor, its clock, and the way by which the world wakes it. A frozen
// process hears everything at once when it thaws; a killed one hears nothing any more.
#pragma once

#include <boost/asio/async_result.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "world.h"

namespace pgvigil::sim {

class Process;

class SimClock final : public Clock {
 public:
  SimClock(World& world, const MachineClock& machine, Process& process)
      : world_(world), machine_(machine), process_(process) {}
  [[nodiscard]] TimePoint now() const override { return machine_.local(world_.now()); }
  [[nodiscard]] WallTime wall() const override {
    return WallTime(std::chrono::seconds(1'800'000'000) +
                    std::chrono::duration_cast<std::chrono::microseconds>(world_.now().since_boot()));
  }
  TimerId call_at(TimePoint when, std::function<void()> call) override;
  void cancel(TimerId timer) override;
  asio::any_io_executor executor() override;
  void drop_all();

 private:
  World& world_;
  const MachineClock& machine_;
  Process& process_;
  std::map<TimerId, std::pair<World::EventId, std::function<void()>>> timers_;
  TimerId last_timer_ = 0;
};

// What an adapter's coroutine waits for. The first answer counts; it may come from any event of the world.
template <class T>
class Answer;

class Process : public std::enable_shared_from_this<Process> {
 public:
  Process(World& world, const MachineClock& machine, std::string name)
      : world_(world), name_(std::move(name)), clock(world, machine, *this) {}
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Runs `call` in this process: now, or at its thaw.
  void deliver(std::function<void()> call);
  void freeze() { frozen_ = true; }
  void thaw();
  [[nodiscard]] bool frozen() const { return frozen_; }
  [[nodiscard]] bool alive() const { return alive_; }
  // SIGKILL: nothing runs here any more. What its coroutines hold is released; `destroy` drops the objects they use.
  void kill(const std::function<void()>& destroy);
  [[nodiscard]] asio::io_context& loop() { return loop_; }

  // `start` gets the handle that some event of the world will answer.
  template <class T>
  Task<T> wait_for(std::function<void(Answer<T>)> start);

 private:
  template <class T>
  friend class Answer;
  struct SlotBase {
    virtual ~SlotBase() = default;
  };
  template <class T>
  struct Slot final : SlotBase {
    std::function<void(T)> resume;
  };
  void pump();

  World& world_;
  std::string name_;
  asio::io_context loop_{1};
  bool frozen_ = false, alive_ = true, pumping_ = false;
  std::vector<std::function<void()>> inbox_;
  std::map<std::uint64_t, std::unique_ptr<SlotBase>> slots_;
  std::uint64_t last_slot_ = 0;

 public:
  SimClock clock;
};

template <class T>
class Answer {
 public:
  Answer(std::weak_ptr<Process> process, std::uint64_t slot) : process_(std::move(process)), slot_(slot) {}
  void operator()(T value) const {
    const auto process = process_.lock();
    if (!process || !process->alive() || process->slots_.count(slot_) == 0) return;
    process->deliver([raw = process.get(), slot = slot_, value = std::move(value)]() mutable {
      const auto found = raw->slots_.extract(slot);
      if (!found.empty()) static_cast<Process::Slot<T>&>(*found.mapped()).resume(std::move(value));
    });
  }

 private:
  std::weak_ptr<Process> process_;
  std::uint64_t slot_;
};

template <class T>
Task<T> Process::wait_for(std::function<void(Answer<T>)> start) {
  auto initiate = [this, start = std::move(start)](auto handler) {
    auto held = std::make_shared<decltype(handler)>(std::move(handler));
    auto slot = std::make_unique<Slot<T>>();
    slot->resume = [held](T value) { std::move (*held)(std::move(value)); };
    const auto id = ++last_slot_;
    slots_[id] = std::move(slot);
    start(Answer<T>(weak_from_this(), id));
  };
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<>, void(T)>(std::move(initiate),
                                                                                  asio::use_awaitable);
}

}  // namespace pgvigil::sim
