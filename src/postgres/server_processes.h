// Finding and killing the processes of a PostgreSQL instance through /proc. Backends are sessions of their own and live
// on when their postmaster is killed, so neither a process group nor a parent finds them all; but the postmaster
// changes into its data directory and every process it forks stays there.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace pgvigil::postgres {

struct ProcessInfo {
  pid_t pid = 0;
  pid_t parent = 0;
  char state = '?';     // 'Z': a zombie, 'T': stopped
  std::string command;  // the kernel's short name, "postgres"
  double started = 0;   // seconds of the epoch; 0: unknown
};
std::optional<ProcessInfo> process_info(pid_t pid);

// Is the process's working directory this one? nullopt: may not be read.
std::optional<bool> works_in(pid_t pid, const std::string& directory);

// Living processes named "postgres" (any spelling of the binary's name that begins so) which work in the directory,
// `except` left out.
std::vector<pid_t> server_processes(const std::string& data_dir, pid_t except = 0);
// Living children, zombies left out.
std::vector<pid_t> children_of(pid_t parent);

// SIGSTOP to the postmaster (so that it forks no more), SIGKILL to its children until none is left, SIGKILL to it, then
// SIGKILL to what else works in the data directory. Returns when none of them lives, false if some still did after two
// seconds (in uninterruptible sleep: they run no more code of ours, but hold what they hold). `postmaster` 0: only the
// rest.
bool kill_server(pid_t postmaster, const std::string& data_dir);

}  // namespace pgvigil::postgres
