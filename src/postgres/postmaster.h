// The postmaster of one data directory: started detached from the agent, adopted when it runs already, watched by
// pidfd. Runs on the clock's executor; only the waiting call suspends.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

namespace pgvigil::postgres {

// postmaster.pid, lines as src/include/utils/pidfile.h of the server has them.
struct PidFile {
  pid_t pid = 0;
  bool single_user = false;  // written with a negative pid
  std::string data_dir;
  std::int64_t start_time = 0;  // seconds of the epoch
  std::uint16_t port = 0;
  std::string socket_dir, listen_address;
  std::string status;  // "starting", "stopping", "ready", "standby"; empty: not written yet
};
std::optional<PidFile> parse_pid_file(std::string_view text);
std::optional<PidFile> read_pid_file(const std::string& data_dir);

// Is the process that the file names really the server of this directory? Pids are recycled, in containers quickly. Its
// working directory decides; where that may not be read, its start time, within 3 seconds of what the file says.
bool is_postmaster(const PidFile& file, const std::string& data_dir);

class Postmaster {
 public:
  using ExitHandler = std::function<void(bool expected)>;
  struct StartOptions {
    std::string program;                 // postgres
    std::vector<std::string> arguments;  // after -D
    std::string log_file;                // gets standard output and error until the server's own logging takes over
    std::string krbsrvname;
    std::function<Result<void>(pid_t child)> before_exec;  // see SpawnOptions
  };

  Postmaster(Clock& clock, Log log, std::string data_dir);
  ~Postmaster();  // the postmaster goes on
  Postmaster(const Postmaster&) = delete;
  Postmaster& operator=(const Postmaster&) = delete;

  // After each end, from the executor, within milliseconds; processes that the dead postmaster left have been killed.
  void on_exit(ExitHandler handler);

  // Watches a running postmaster of the directory, if there is one. True: one is (now) watched.
  bool adopt();
  // Starts one and watches it; it is not ready yet. Kills left-over processes of an earlier one first: they hold the
  // shared memory, and the new postmaster would refuse to start.
  Result<void> start(const StartOptions& options);

  [[nodiscard]] bool running() const;
  [[nodiscard]] pid_t pid() const;  // 0: none
  // "ready" and so on, of the watched postmaster; empty while its file is not complete.
  [[nodiscard]] std::string status() const;

  // The end to come is ours: reported as expected. Holds for the postmaster that is watched now.
  void expect_exit();
  bool signal(int number);
  // True: it has ended.
  Task<bool> wait_exit(TimePoint deadline);
  // Kills it and all that belongs to it, now; see kill_server. Also when nothing is watched.
  bool kill_now();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// The last lines of a server's log file that tell of an error, joined; for the message of a failed start.
std::string last_errors(const std::string& log_file, std::int64_t from_offset);

}  // namespace pgvigil::postgres
