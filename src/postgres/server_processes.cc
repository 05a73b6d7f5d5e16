#include "postgres/server_processes.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <thread>

#include "base/time.h"
#include "postgres/spawn.h"

namespace pgvigil::postgres {

namespace {

double boot_time() {
  // One subtraction of two clocks is exact to microseconds and, unlike btime of /proc/stat, not rounded to a second.
  const double wall = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  return wall - seconds_of(boottime_now().since_boot());
}

template <class Visit>
void for_each_process(Visit visit) {
  const std::unique_ptr<DIR, int (*)(DIR*)> proc(opendir("/proc"), closedir);
  if (!proc) return;
  while (const dirent* entry = readdir(proc.get())) {
    char* end = nullptr;
    const long pid = std::strtol(entry->d_name, &end, 10);
    if (pid > 0 && *end == '\0') visit(static_cast<pid_t>(pid));
  }
}

bool alive(pid_t pid) {
  const auto info = process_info(pid);
  return info && info->state != 'Z' && info->state != 'X';
}

}  // namespace

std::optional<ProcessInfo> process_info(pid_t pid) {
  Fd file(open(("/proc/" + std::to_string(pid) + "/stat").c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 1024> buffer{};
  const ssize_t got = file.valid() ? read(file.get(), buffer.data(), buffer.size() - 1) : -1;
  if (got <= 0) return std::nullopt;
  const std::string_view text(buffer.data(), static_cast<std::size_t>(got));
  // The name may hold spaces and parentheses: fields are counted from the last ')'. proc(5), /proc/pid/stat.
  const auto open_at = text.find('(');
  const auto close_at = text.rfind(')');
  if (open_at == std::string_view::npos || close_at == std::string_view::npos) return std::nullopt;
  ProcessInfo info;
  info.pid = pid;
  info.command = text.substr(open_at + 1, close_at - open_at - 1);
  unsigned long long ticks = 0;
  int parent = 0;
  if (std::sscanf(buffer.data() + close_at + 1,
                  " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &info.state,
                  &parent, &ticks) != 3) {
    return std::nullopt;
  }
  info.parent = parent;
  info.started = boot_time() + static_cast<double>(ticks) / static_cast<double>(sysconf(_SC_CLK_TCK));
  return info;
}

std::optional<bool> works_in(pid_t pid, const std::string& directory) {
  // stat through the link compares the directory itself: it may be reached by several paths.
  struct stat there {};
  struct stat wanted {};
  if (stat(("/proc/" + std::to_string(pid) + "/cwd").c_str(), &there) != 0) return std::nullopt;
  if (stat(directory.c_str(), &wanted) != 0) return false;
  return there.st_dev == wanted.st_dev && there.st_ino == wanted.st_ino;
}

std::vector<pid_t> server_processes(const std::string& data_dir, pid_t except) {
  std::vector<pid_t> result;
  for_each_process([&](pid_t pid) {
    if (pid == except || pid == getpid() || !works_in(pid, data_dir).value_or(false)) return;
    const auto info = process_info(pid);
    if (info && info->state != 'Z' && info->command.starts_with("postgres")) result.push_back(pid);
  });
  return result;
}

std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> result;
  for_each_process([&](pid_t pid) {
    const auto info = process_info(pid);
    if (info && info->parent == parent && info->state != 'Z') result.push_back(pid);
  });
  return result;
}

bool kill_server(pid_t postmaster, const std::string& data_dir) {
  const TimePoint deadline = boottime_now() + 2s;
  if (postmaster > 0) {
    kill(postmaster, SIGSTOP);
    // It may have forked between our reading of /proc and the stop: look again until nothing new is there.
    for (int round = 0; round < 1000 && boottime_now() < deadline; ++round) {
      auto children = children_of(postmaster);
      if (children.empty()) break;
      for (const pid_t child : children) kill(child, SIGKILL);
      std::this_thread::sleep_for(std::chrono::microseconds(500));
    }
    kill(postmaster, SIGKILL);
  }
  for (;;) {
    const auto rest = server_processes(data_dir);
    for (const pid_t pid : rest) kill(pid, SIGKILL);
    if (rest.empty() && (postmaster <= 0 || !alive(postmaster))) return true;
    if (boottime_now() >= deadline) return false;
    std::this_thread::sleep_for(std::chrono::microseconds(500));
  }
}

}  // namespace pgvigil::postgres
