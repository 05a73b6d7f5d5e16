// Observations of PostgreSQL shared by all requests: however many ask at once, one observation is under way.
#pragma once

#include "agent/commands.h"
#include "base/clock.h"
#include "base/task_group.h"
#include "model/instance.h"

namespace pgvigil::api {

class FreshInstance {
 public:
  // The task group has ended before this object does.
  FreshInstance(agent::Commands& commands, TaskGroup& tasks)
      : commands_(commands), clock_(commands.clock()), tasks_(tasks), done_(clock_) {}

  // An observation that began at `not_before` or later; when there is none by the deadline, the newest there is.
  Task<Instance> get(TimePoint not_before, TimePoint deadline);

 private:
  Task<void> observe();
  [[nodiscard]] Instance newest() const;

  agent::Commands& commands_;
  Clock& clock_;
  TaskGroup& tasks_;
  Signal done_;
  Instance last_;
  bool observing_ = false;
  TimePoint began_;   // of the observation under way
  TimePoint covers_;  // begin of the latest observation that has ended
};

}  // namespace pgvigil::api
