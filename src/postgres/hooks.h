// The scripts that an operator hangs into the life of the instance: callbacks, pre_promote, before_stop.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "postgres/child_task.h"

namespace pgvigil::postgres {

// Callbacks are never waited for, and their exit code only reaches the log. One that still runs when the next one is
// due is killed with its children; on_reload counts apart from the others, so that a reload does not kill a role
// change.
class Callbacks {
 public:
  Callbacks(Clock& clock, Log log) : clock_(clock), log_(log.in_room("postgres")) {}
  ~Callbacks();  // those that run go on
  Callbacks(const Callbacks&) = delete;
  Callbacks& operator=(const Callbacks&) = delete;

  // `command` is split into words; ACTION, ROLE and SCOPE are added.
  void run(const std::string& command, const std::string& action, const std::string& role, const std::string& scope);

 private:
  struct Running;
  Clock& clock_;
  Log log_;
  std::shared_ptr<Running> change_, reload_;
};

// Runs a hook and waits. Error Failed: it ended with another code than 0, with its last line; Timeout: it was killed.
Task<Result<void>> run_hook(Clock& clock, std::string name, std::string command, TimePoint deadline);

}  // namespace pgvigil::postgres
