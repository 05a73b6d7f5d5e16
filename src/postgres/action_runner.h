// The one long action of an instance: the program it waits for, and giving it up.
#pragma once

#include <functional>
#include <memory>

#include "base/clock.h"
#include "base/error.h"
#include "postgres/child_task.h"

namespace pgvigil::postgres {

class ActionRunner {
 public:
  explicit ActionRunner(Clock& clock) : clock_(clock) {}

  // A new action begins: an earlier cancel() is over.
  void begin() { cancelled_ = false; }
  // Kills the program that runs; run() then fails Cancelled, and so does every further one until begin().
  void cancel();
  [[nodiscard]] bool cancelled() const { return cancelled_; }
  [[nodiscard]] Result<void> check() const;

  // A non-zero exit code is not an error here. Timeout: it was killed.
  Task<Result<ChildExit>> run(ChildSpec spec, ChildTask::LineHandler on_line, TimePoint deadline);
  // Runs a blocking function on a thread of its own; for file trees. Not cancelled.
  Task<Result<void>> run_blocking(std::function<Result<void>()> work);
  // A deadline for what may take as long as it takes (copying a database): a year.
  [[nodiscard]] TimePoint no_deadline() const { return clock_.now() + std::chrono::hours(24 * 365); }
  [[nodiscard]] Clock& clock() const { return clock_; }

 private:
  Clock& clock_;
  ChildTask* child_ = nullptr;
  bool cancelled_ = false;
};

}  // namespace pgvigil::postgres
