// Starting programs: fork and exec with a clean signal state, no inherited descriptors and an environment of our
// choice.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace pgvigil::postgres {

class Fd {  // owns one file descriptor
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~Fd() { reset(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1);

 private:
  int fd_ = -1;
};

struct SpawnOptions {
  std::vector<std::string> argv;         // argv[0]: a path, or a name looked up in PATH
  std::vector<std::string> environment;  // complete, "NAME=value"; see child_environment
  std::string directory;                 // working directory; empty: ours
  int in = -1, out = -1, err = -1;       // -1: /dev/null
  bool own_session = false;              // else a process group of its own
  bool dies_with_us = false;             // SIGKILL when the thread that started it ends
  // Runs in our process while the child exists and waits, before it executes the program. An error, or our own end,
  // ends the child.
  std::function<Result<void>(pid_t child)> before_exec;
};

struct Spawned {
  pid_t pid = 0;
  Fd pidfd;
};

// Returns once the program runs; a failed exec is an error here, not an exit code later.
Result<Spawned> spawn(const SpawnOptions& options);

// Our environment without PATRONI_*, PGVIGIL_* and KUBERNETES_* (secrets of the configuration) and NOTIFY_SOCKET,
// overridden by `extra`. An empty value of `extra` removes the variable.
std::vector<std::string> child_environment(const std::map<std::string, std::string>& extra = {});

// Splits as a POSIX shell splits words, quotes and backslashes included; no expansion. Error: an open quote.
Result<std::vector<std::string>> split_command(const std::string& command);

// A pidfd of any process; invalid (errno set) when there is none.
Fd open_pidfd(pid_t pid);

}  // namespace pgvigil::postgres
