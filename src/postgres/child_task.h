// A child program that the event loop waits for: its end by pidfd, its output line by line and bounded.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"

namespace pgvigil::postgres {

struct ChildSpec {
  std::vector<std::string> argv;                   // argv[0]: a path, or a name looked up in PATH
  std::map<std::string, std::string> environment;  // over ours; see child_environment
  std::string directory;
  std::string input;         // at most 64 kB, given on standard input; a secret may be in it
  bool dies_with_us = true;  // a tool that writes the data directory must not outlive the agent
  std::size_t output_limit = std::size_t{64} * 1024;  // the last bytes of what it printed are kept
};

struct ChildExit {
  int code = 0;  // exit code; -1 when it died of a signal
  int signal = 0;
  std::string output;  // end of standard output and standard error, as they came
  [[nodiscard]] bool ok() const { return code == 0; }
  // "exit code 1: <last line that is not empty>", for errors.
  [[nodiscard]] std::string cause() const;
};

// Runs on the clock's executor. The destructor kills the child's process group and reaps the child.
class ChildTask {
 public:
  using LineHandler = std::function<void(std::string_view line)>;

  static Result<std::unique_ptr<ChildTask>> start(Clock& clock, ChildSpec spec, LineHandler on_line = {});
  ~ChildTask();
  ChildTask(const ChildTask&) = delete;
  ChildTask& operator=(const ChildTask&) = delete;

  // Waits for the end. At the deadline the process group is killed: Timeout. One waiter at a time.
  Task<Result<ChildExit>> wait(TimePoint deadline);
  // SIGKILL to the process group; wait() then returns what is known of the end.
  void kill();
  [[nodiscard]] bool running() const;

 private:
  struct State;
  explicit ChildTask(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;  // shared with the handlers that Asio still holds after our end
};

// Starts, waits and forgets. A non-zero exit code is not an error here.
Task<Result<ChildExit>> run_program(Clock& clock, ChildSpec spec, TimePoint deadline);

}  // namespace pgvigil::postgres
