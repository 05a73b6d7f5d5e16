#include "postgres/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "config/load.h"

extern char** environ;

namespace pgvigil::postgres {

namespace {

Result<std::string> find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* path = std::getenv("PATH");
  std::string_view rest = path != nullptr && *path != '\0' ? path : "/usr/local/bin:/usr/bin:/bin";
  while (!name.empty()) {
    const auto colon = rest.find(':');
    std::string candidate(rest.substr(0, colon));
    if (candidate.empty()) candidate = ".";
    candidate += "/" + name;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
    if (colon == std::string_view::npos) break;
    rest.remove_prefix(colon + 1);
  }
  return fail(Errc::NotFound, "cannot start the program", name, "not found in PATH", "check postgresql.bin_dir");
}

void close_from(int first) {
  if (syscall(SYS_close_range, static_cast<unsigned>(first), ~0U, 0U) == 0) return;
  const long limit = std::min(sysconf(_SC_OPEN_MAX), 65536L);  // kernels before 5.9
  for (long fd = first; fd < limit; ++fd) close(static_cast<int>(fd));
}

void reset_signals() {
  struct sigaction defaults {};
  defaults.sa_handler = SIG_DFL;
  for (int number = 1; number < 65; ++number) sigaction(number, &defaults, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

struct ChildPlan {  // everything the child needs, prepared before the fork: other threads may hold the heap's lock
  const char* program;
  char** argv;
  char** environment;
  const char* directory;
  std::array<int, 3> stdio;
  int report;
  pid_t parent;
  bool own_session;
  bool dies_with_us;
  int gate_read, gate_write;  // -1: no gate
};

// Only async-signal-safe calls from here to exec.
[[noreturn]] void run_child(const ChildPlan& plan) {
  const auto give_up = [&plan] {
    const int error = errno;
    [[maybe_unused]] const auto written = write(plan.report, &error, sizeof error);
    _exit(127);
  };
  if (plan.gate_read >= 0) {
    close(plan.gate_write);  // else our own copy of it would keep the read from ending when the agent dies
    char go = 0;
    ssize_t got = 0;
    do {
      got = read(plan.gate_read, &go, 1);
    } while (got < 0 && errno == EINTR);
    if (got != 1) _exit(127);
  }
  // Blocked by the caller, so no handler of the agent runs in this copy of it.
  reset_signals();
  if (plan.own_session) {
    setsid();
  } else {
    setpgid(0, 0);
  }
  if (plan.dies_with_us) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != plan.parent) _exit(127);  // the parent ended before the request was in force
  }
  // The report pipe may sit on 0..2 only if those were closed in the agent; move it out of the way first.
  const int report = fcntl(plan.report, F_DUPFD_CLOEXEC, 3);
  std::array<int, 3> source{};
  for (std::size_t i = 0; i < 3; ++i) source[i] = fcntl(plan.stdio[i], F_DUPFD_CLOEXEC, 3);
  for (int i = 0; i < 3; ++i) {
    if (dup2(source[static_cast<std::size_t>(i)], i) < 0) give_up();
  }
  if (report != 3) {
    dup3(report, 3, O_CLOEXEC);
  }
  close_from(4);
  if (plan.directory != nullptr && chdir(plan.directory) != 0) {
    const int error = errno;
    [[maybe_unused]] const auto written = write(3, &error, sizeof error);
    _exit(127);
  }
  execve(plan.program, plan.argv, plan.environment);
  const int error = errno;
  [[maybe_unused]] const auto written = write(3, &error, sizeof error);
  _exit(127);
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  result.reserve(texts.size() + 1);
  for (const auto& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

}  // namespace

void Fd::reset(int fd) {
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
}

Fd open_pidfd(pid_t pid) { return Fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0U))); }

Result<Spawned> spawn(const SpawnOptions& options) {
  PGV_ASSERT(!options.argv.empty());
  PGV_TRY(program, find_program(options.argv[0]));
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    return fail(Errc::Failed, "cannot start", program, errno_text(errno), "raise the limit of open files");
  }
  Fd report_read(ends[0]);
  Fd report_write(ends[1]);
  Fd gate_read;
  Fd gate_write;
  if (options.before_exec) {
    if (pipe2(ends.data(), O_CLOEXEC) != 0) return fail(Errc::Failed, "cannot start", program, errno_text(errno));
    gate_read.reset(ends[0]);
    gate_write.reset(ends[1]);
  }
  Fd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  const auto or_null = [&null](int fd) { return fd >= 0 ? fd : null.get(); };
  auto argv = pointers(options.argv);
  auto environment = pointers(options.environment);
  const ChildPlan plan{program.c_str(),
                       argv.data(),
                       environment.data(),
                       options.directory.empty() ? nullptr : options.directory.c_str(),
                       {or_null(options.in), or_null(options.out), or_null(options.err)},
                       report_write.get(),
                       getpid(),
                       options.own_session,
                       options.dies_with_us,
                       gate_read.get(),
                       gate_write.get()};

  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = fork();
  if (pid == 0) run_child(plan);
  const int fork_error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return fail(Errc::Failed, "cannot start", program, errno_text(fork_error));

  report_write.reset();
  gate_read.reset();
  if (options.before_exec) {
    auto permitted = options.before_exec(pid);
    const char go = 1;
    if (permitted && write(gate_write.get(), &go, 1) != 1) {
      permitted = fail(Errc::Failed, "cannot start", program, errno_text(errno));
    }
    if (!permitted) {
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
      return tl::make_unexpected(std::move(permitted.error()));
    }
    gate_write.reset();
  }
  int error = 0;
  ssize_t got = 0;
  do {
    got = read(report_read.get(), &error, sizeof error);
  } while (got < 0 && errno == EINTR);
  if (got == sizeof error) {
    waitpid(pid, nullptr, 0);
    return fail(Errc::Failed, "cannot start", program, errno_text(error), "check that it exists and may be run");
  }
  Spawned spawned{pid, open_pidfd(pid)};
  if (!spawned.pidfd.valid()) {
    const int pidfd_error = errno;
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return fail(Errc::Failed, "cannot watch", program, errno_text(pidfd_error), "Linux 5.3 or later is needed");
  }
  return spawned;
}

std::vector<std::string> child_environment(const std::map<std::string, std::string>& extra) {
  std::vector<std::string> result;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::string name(text.substr(0, text.find('=')));
    // A PostgreSQL that knows systemd would report itself as ready in the agent's place.
    if (config::is_consumed_variable(name) || name.starts_with("PGVIGIL_") || extra.count(name) > 0) continue;
    result.emplace_back(text);
  }
  for (const auto& [name, value] : extra) {
    if (!value.empty()) result.push_back(name + "=" + value);
  }
  return result;
}

Result<std::vector<std::string>> split_command(const std::string& command) {
  std::vector<std::string> words;
  std::string word;
  bool in_word = false;
  char quote = '\0';
  for (std::size_t i = 0; i < command.size(); ++i) {
    const char c = command[i];
    if (quote == '\'') {
      if (c == quote) {
        quote = '\0';
      } else {
        word += c;
      }
    } else if (c == '\\' && i + 1 < command.size()) {
      const char next = command[++i];
      // Inside double quotes a backslash protects only these (POSIX, Shell Command Language 2.2.3).
      if (quote == '"' && std::strchr("\"\\$`", next) == nullptr) word += c;
      word += next;
      in_word = true;
    } else if (quote == '"') {
      if (c == quote) {
        quote = '\0';
      } else {
        word += c;
      }
    } else if (c == '\'' || c == '"') {
      quote = c;
      in_word = true;
    } else if (c == ' ' || c == '\t' || c == '\n') {
      if (in_word) words.push_back(std::exchange(word, {}));
      in_word = false;
    } else {
      word += c;
      in_word = true;
    }
  }
  if (quote != '\0') {
    return fail(Errc::InvalidConfig, "cannot split the command", command, "a quote is not closed", "close the quote");
  }
  if (in_word) words.push_back(word);
  if (words.empty()) return fail(Errc::InvalidConfig, "the command is empty");
  return words;
}

}  // namespace pgvigil::postgres
