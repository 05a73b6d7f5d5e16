// Owner of background coroutines: nothing is detached, the owner can wait until all of them have ended.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "base/clock.h"

namespace pgvigil {

class TaskGroup {
 public:
  explicit TaskGroup(Clock& clock) : clock_(clock), ended_(clock) {}
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  // Starts the coroutine on the executor (never inline). An exception that leaves it ends the process: library
  // exceptions are turned into errors where they are thrown. `then` runs after it has ended.
  void spawn(Task<void> task, std::function<void()> then = {});
  // Waits until all tasks have ended or the deadline has passed; true when none is left.
  Task<bool> join(TimePoint deadline);
  [[nodiscard]] std::size_t running() const { return running_; }

 private:
  Clock& clock_;
  Signal ended_;
  std::size_t running_ = 0;
};

}  // namespace pgvigil
