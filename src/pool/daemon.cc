#include "pool/daemon.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <limits>
#include <utility>

namespace pgvigil::pool {
namespace {

constexpr long long kOwnDescriptors = 10;

// Every client, and every pool full.
long long expected_descriptors(const RunningConfig& config) {
  const poolcfg::Settings& all = config.settings();
  const auto users = static_cast<long long>(config.auth.passwords.size());
  long long total = all.max_client_conn + kOwnDescriptors;
  const auto add = [&](const poolcfg::DatabaseEntry& entry) {
    const int size = entry.pool_size.value_or(all.default_pool_size);
    total += entry.user.empty() ? size * users : size;
  };
  for (const auto& [name, entry] : config.file.databases) add(entry);
  if (config.file.any_database) add(*config.file.any_database);
  return total;
}

std::string shown(rlim_t limit) { return limit == RLIM_INFINITY ? "unlimited" : std::to_string(limit); }

// The pid in the file; nothing: there is no file; 0: there is no number in it.
std::optional<pid_t> pid_in(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  std::array<char, 32> text{};
  const ssize_t size = ::read(fd, text.data(), text.size() - 1);
  ::close(fd);
  if (size <= 0) return 0;
  char* end = nullptr;
  const long number = std::strtol(text.data(), &end, 10);
  const bool whole = end != text.data() && (*end == '\n' || *end == '\0');
  return whole && number > 0 && number < std::numeric_limits<pid_t>::max() ? static_cast<pid_t>(number) : 0;
}

Result<void> write_pid(const std::string& path, int flags) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644);
  const std::string text = std::to_string(getpid()) + "\n";
  const bool written = fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (written) return {};
  return fail(Errc::Failed, "could not write pidfile", path, errno_text(error),
              "its directory has to exist and be writable for the pooler's user");
}

}  // namespace

Result<void> become_user(const std::string& name) {
  if (name.empty()) {
    if (geteuid() != 0) return {};
    return fail(Errc::Refused, "PgBouncer should not run as root", {}, {},
                "set user in the configuration, or start with -u USER");
  }
  const passwd* user = getpwnam(name.c_str());
  if (user == nullptr) return fail(Errc::NotFound, "cannot change the user", name, "there is no such user");
  if (geteuid() == user->pw_uid) return {};
  if (geteuid() != 0) {
    return fail(Errc::Refused, "cannot change the user", name, "only root can", "start as that user, or as root");
  }
  const gid_t group = user->pw_gid;
  if (setgid(group) != 0 || setgroups(1, &group) != 0 || setuid(user->pw_uid) != 0) {
    return fail(Errc::Failed, "cannot change the user", name, errno_text(errno));
  }
  // Root must be gone for good.
  if (user->pw_uid != 0 && (setuid(0) == 0 || geteuid() == 0)) {
    return fail(Errc::Failed, "cannot change the user", name, "root could be regained");
  }
  if (geteuid() == 0) return fail(Errc::Refused, "PgBouncer should not run as root", {}, "user names root");
  return {};
}

void set_limits(const RunningConfig& config, PoolLog& log) {
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  if (files.rlim_cur != files.rlim_max) {
    const rlimit raised{files.rlim_max, files.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) files = raised;
  }
  const long long expected = expected_descriptors(config);
  log.put(Level::Log, "kernel file descriptor limit: {} (hard: {}); max_client_conn: {}, max expected fd use: {}",
          shown(files.rlim_cur), shown(files.rlim_max), config.settings().max_client_conn, expected);
  if (files.rlim_cur != RLIM_INFINITY && expected > static_cast<long long>(files.rlim_cur)) {
    log.put(Level::Warning,
            "the file descriptor limit is below what max_client_conn and the pools may need; raise it (LimitNOFILE= of "
            "the service) or lower max_client_conn");
  }
}

Result<void> Background::enter() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return fail(Errc::Failed, "cannot make a pipe", {}, errno_text(errno));
  const pid_t child = fork();
  if (child < 0) return fail(Errc::Failed, "cannot fork", {}, errno_text(errno));
  if (child > 0) {
    ::close(ends[1]);
    char ready = 0;
    ssize_t got = 0;
    do {
      got = ::read(ends[0], &ready, 1);
    } while (got < 0 && errno == EINTR);
    _exit(got == 1 ? 0 : 1);
  }
  ::close(ends[0]);
  parent_ = ends[1];
  setsid();
  // Not a session's leader any more: no terminal can become ours.
  const pid_t grandchild = fork();
  if (grandchild < 0) return fail(Errc::Failed, "cannot fork", {}, errno_text(errno));
  if (grandchild > 0) _exit(0);
  return {};
}

void Background::up() {
  if (parent_ < 0) return;
  if (const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC); null >= 0) {
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(null, fd);
    if (null > STDERR_FILENO) ::close(null);
  }
  const char ready = 1;
  const ssize_t told = ::write(parent_, &ready, 1);
  static_cast<void>(told);
  ::close(std::exchange(parent_, -1));
}

Result<void> PidFile::check() const {
  if (path_.empty()) return {};
  const auto pid = pid_in(path_);
  if (!pid) return {};
  const bool gone = *pid > 0 && kill(*pid, 0) != 0 && errno == ESRCH;
  if (!gone) {
    return fail(Errc::Refused, "pidfile exists, another instance running?", path_,
                *pid > 0 ? fmt::format("process {} lives", *pid) : "it holds no process number",
                "stop that process, or remove the file if it is not a pooler");
  }
  if (unlink(path_.c_str()) != 0 && errno != ENOENT) {
    return fail(Errc::Failed, "cannot remove the stale pidfile", path_, errno_text(errno));
  }
  return {};
}

Result<void> PidFile::write() {
  if (path_.empty()) return {};
  PGV_TRY_VOID(write_pid(path_, O_EXCL));
  ours_ = true;
  return {};
}

Result<void> PidFile::take_over() {
  if (path_.empty()) return {};
  const std::string next = path_ + ".new";
  PGV_TRY_VOID(write_pid(next, O_TRUNC));
  if (rename(next.c_str(), path_.c_str()) != 0) {
    return fail(Errc::Failed, "could not write pidfile", path_, errno_text(errno));
  }
  ours_ = true;
  return {};
}

void PidFile::remove() {
  if (!std::exchange(ours_, false)) return;
  if (pid_in(path_) == getpid()) unlink(path_.c_str());
}

}  // namespace pgvigil::pool
