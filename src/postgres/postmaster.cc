#include "postgres/postmaster.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <map>

#include "postgres/server_processes.h"
#include "postgres/spawn.h"

namespace pgvigil::postgres {

namespace {

constexpr off_t kLogFileBytes = 10'000'000;

std::string read_text(const std::string& path, std::size_t limit) {
  Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text(limit, '\0');
  const ssize_t got = file.valid() ? read(file.get(), text.data(), text.size()) : 0;
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

template <class Number>
Number number_of(std::string_view text) {
  Number value{};
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

std::optional<PidFile> parse_pid_file(std::string_view text) {
  std::array<std::string_view, 8> lines{};
  for (auto& line : lines) {
    const auto end = text.find('\n');
    line = text.substr(0, end);
    while (!line.empty() && (line.back() == ' ' || line.back() == '\r')) line.remove_suffix(1);  // status is padded
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  PidFile file;
  const auto pid = number_of<std::int64_t>(lines[0]);
  if (pid == 0) return std::nullopt;
  file.single_user = pid < 0;
  file.pid = static_cast<pid_t>(std::abs(pid));
  file.data_dir = lines[1];
  file.start_time = number_of<std::int64_t>(lines[2]);
  file.port = number_of<std::uint16_t>(lines[3]);
  file.socket_dir = lines[4];
  file.listen_address = lines[5];
  file.status = lines[7];
  return file;
}

std::optional<PidFile> read_pid_file(const std::string& data_dir) {
  return parse_pid_file(read_text(data_dir + "/postmaster.pid", 8192));
}

bool is_postmaster(const PidFile& file, const std::string& data_dir) {
  const auto info = process_info(file.pid);
  if (!info || info->state == 'Z' || info->state == 'X' || file.pid == getpid() || file.pid == getppid()) return false;
  if (const auto here = works_in(file.pid, data_dir)) return *here && info->command.starts_with("postgres");
  return file.start_time != 0 && std::abs(info->started - static_cast<double>(file.start_time)) <= 3.0;
}

struct Postmaster::State : std::enable_shared_from_this<Postmaster::State> {
  State(Clock& the_clock, Log the_log, std::string directory)
      : clock(the_clock),
        log(the_log),
        data_dir(std::move(directory)),
        watch(the_clock.executor()),
        ended(std::make_shared<Signal>(the_clock)) {}

  void begin_watch(pid_t watched, Fd pidfd) {
    pid = watched;
    expected = false;
    ended = std::make_shared<Signal>(clock);  // a memory of the last end would wake the next waiter
    watch = asio::posix::stream_descriptor(clock.executor(), pidfd.release());
    wait_for_end(watched);
  }

  void wait_for_end(pid_t watched) {
    watch.async_wait(asio::posix::descriptor_base::wait_read,
                     [weak = weak_from_this(), watched](const boost::system::error_code& error) {
                       const auto self = weak.lock();
                       if (error || !self || self->pid != watched) return;
                       // The reactor may wake us with an event of a descriptor that had this number before. Taking a
                       // living postmaster for dead would kill it.
                       pollfd ended{self->watch.native_handle(), POLLIN, 0};
                       if (poll(&ended, 1, 0) > 0 && (ended.revents & POLLIN) != 0) {
                         self->finish();
                       } else {
                         self->wait_for_end(watched);
                       }
                     });
  }

  void finish() {
    waitpid(pid, nullptr, WNOHANG);  // ours if this agent started it, else ECHILD
    const bool was_expected = expected;
    const pid_t dead = std::exchange(pid, 0);
    boost::system::error_code ignored;
    if (watch.is_open()) watch.close(ignored);
    if (!kill_server(0, data_dir)) {
      log.error("postmaster {} has ended, but some of its processes cannot be killed (uninterruptible sleep)", dead);
    }
    if (was_expected) {
      log.info("postmaster {} has ended", dead);
    } else {
      log.warning("postmaster {} has ended unexpectedly", dead);
    }
    ended->notify();
    if (handler) handler(was_expected);
  }

  Clock& clock;
  Log log;
  std::string data_dir;
  asio::posix::stream_descriptor watch;
  std::shared_ptr<Signal> ended;
  ExitHandler handler;
  pid_t pid = 0;
  bool expected = false;
};

Postmaster::Postmaster(Clock& clock, Log log, std::string data_dir)
    : state_(std::make_shared<State>(clock, log.in_room("postgres"), std::move(data_dir))) {}

Postmaster::~Postmaster() {
  state_->handler = {};
  boost::system::error_code ignored;
  if (state_->watch.is_open()) state_->watch.close(ignored);
}

void Postmaster::on_exit(ExitHandler handler) { state_->handler = std::move(handler); }

bool Postmaster::adopt() {
  if (state_->pid != 0) return true;
  const auto file = read_pid_file(state_->data_dir);
  if (!file || file->single_user) return false;
  Fd pidfd = open_pidfd(file->pid);
  // The pidfd is taken first: what is_postmaster looks at is then the very process that will be watched.
  if (!pidfd.valid() || !is_postmaster(*file, state_->data_dir)) return false;
  state_->log.info("postmaster {} runs in {}", file->pid, state_->data_dir);
  state_->begin_watch(file->pid, std::move(pidfd));
  return true;
}

Result<void> Postmaster::start(const StartOptions& options) {
  if (adopt()) {
    return fail(Errc::Refused, "cannot start PostgreSQL", state_->data_dir,
                fmt::format("postmaster {} runs there already", state_->pid));
  }
  if (const auto file = read_pid_file(state_->data_dir);
      file && file->single_user && is_postmaster(*file, state_->data_dir)) {
    return fail(Errc::Refused, "cannot start PostgreSQL", state_->data_dir,
                fmt::format("single-user server {} runs there", file->pid), "end it");
  }
  if (!kill_server(0, state_->data_dir)) {
    return fail(Errc::Failed, "cannot start PostgreSQL", state_->data_dir,
                "processes of an earlier server cannot be killed", "look for processes in state D");
  }
  SpawnOptions spawn_options;
  spawn_options.argv = {options.program, "-D", state_->data_dir};
  spawn_options.argv.insert(spawn_options.argv.end(), options.arguments.begin(), options.arguments.end());
  std::map<std::string, std::string> environment{{"PGKRBSRVNAME", options.krbsrvname}};
  if (options.krbsrvname.empty()) environment.clear();
  if (const auto file = read_pid_file(state_->data_dir); file && process_info(file->pid)) {
    // A stranger has the pid of the last postmaster. The server would take it for a living one, unless it is told that
    // this is its own grandparent (src/backend/utils/init/miscinit.c, CreateLockFile).
    environment["PG_GRANDPARENT_PID"] = std::to_string(file->pid);
  }
  spawn_options.environment = child_environment(environment);
  spawn_options.directory = state_->data_dir;
  spawn_options.own_session = true;
  spawn_options.before_exec = options.before_exec;
  struct stat info {};
  if (stat(options.log_file.c_str(), &info) == 0 && info.st_size > kLogFileBytes) {
    std::rename(options.log_file.c_str(), (options.log_file + ".1").c_str());
  }
  Fd log_file(open(options.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!log_file.valid()) {
    state_->log.warning("cannot write {}: {}; what PostgreSQL says while it starts is lost", options.log_file,
                        errno_text(errno));
  }
  spawn_options.out = log_file.get();
  spawn_options.err = log_file.get();
  PGV_TRY(spawned, spawn(spawn_options));
  state_->log.info("postmaster {} started in {}", spawned.pid, state_->data_dir);
  state_->begin_watch(spawned.pid, std::move(spawned.pidfd));
  return {};
}

bool Postmaster::running() const { return state_->pid != 0; }
pid_t Postmaster::pid() const { return state_->pid; }

std::string Postmaster::status() const {
  const auto file = read_pid_file(state_->data_dir);
  return file && file->pid == state_->pid ? file->status : std::string();
}

void Postmaster::expect_exit() { state_->expected = true; }

bool Postmaster::signal(int number) {
  if (state_->pid == 0) return false;
  return syscall(SYS_pidfd_send_signal, state_->watch.native_handle(), number, nullptr, 0U) == 0;
}

Task<bool> Postmaster::wait_exit(TimePoint deadline) {
  const auto state = state_;
  const pid_t waited = state->pid;
  const auto ended = state->ended;
  while (waited != 0 && state->pid == waited) {
    if (!co_await ended->wait_until(deadline)) co_return state->pid != waited;
  }
  co_return true;
}

bool Postmaster::kill_now() {
  adopt();
  const pid_t pid = state_->pid;
  if (pid != 0) state_->expected = true;
  const bool complete = kill_server(pid, state_->data_dir);
  if (pid != 0) waitpid(pid, nullptr, WNOHANG);
  // The pidfd reports the end through the executor, as always.
  return complete;
}

std::string last_errors(const std::string& log_file, std::int64_t from_offset) {
  Fd file(open(log_file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return {};
  constexpr std::int64_t kWindow = 65536;
  struct stat info {};
  fstat(file.get(), &info);
  const std::int64_t start =
      std::max({from_offset, std::int64_t{0}, static_cast<std::int64_t>(info.st_size) - kWindow});
  std::string text(static_cast<std::size_t>(kWindow), '\0');
  const ssize_t got = pread(file.get(), text.data(), text.size(), start);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  std::string result;
  std::string last_line;
  std::string_view rest(text);
  while (!rest.empty()) {
    const auto end = rest.find('\n');
    const auto line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (!line.empty()) last_line = line;
    // What is wrong with a configuration file is logged at the level LOG; the FATAL only says that there is something.
    for (const std::string_view mark : {"FATAL: ", "PANIC: ", "HINT: ", "unrecognized configuration parameter",
                                        "invalid value for parameter", "syntax error in file"}) {
      const auto at = line.find(mark);
      if (at == std::string_view::npos || result.size() > 1000) continue;
      if (!result.empty()) result += "; ";
      result += line.substr(at);
    }
  }
  return result.empty() ? last_line : result;
}

}  // namespace pgvigil::postgres
