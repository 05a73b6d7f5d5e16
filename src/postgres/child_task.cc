#include "postgres/child_task.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>

#include "postgres/spawn.h"

namespace pgvigil::postgres {

namespace {

constexpr std::size_t kLineLimit = 4096;  // a longer line is delivered in pieces

// Standard input as an anonymous file: never blocks, needs no writer, and no secret reaches a disk.
Result<Fd> input_file(const std::string& text) {
  Fd file(memfd_create("pgvigil-input", MFD_CLOEXEC));
  if (!file.valid() || write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      lseek(file.get(), 0, SEEK_SET) != 0) {
    return fail(Errc::Failed, "cannot prepare the input of a program", {}, errno_text(errno));
  }
  return file;
}

}  // namespace

std::string ChildExit::cause() const {
  std::string_view rest = output;
  while (!rest.empty() && (rest.back() == '\n' || rest.back() == '\r' || rest.back() == ' ')) rest.remove_suffix(1);
  const auto start = rest.find_last_of("\r\n");
  if (start != std::string_view::npos) rest.remove_prefix(start + 1);
  std::string how = signal != 0 ? fmt::format("killed by signal {}", signal) : fmt::format("exit code {}", code);
  return rest.empty() ? how : fmt::format("{}: {}", how, rest);
}

struct ChildTask::State : std::enable_shared_from_this<ChildTask::State> {
  State(Clock& clock, Spawned spawned, Fd output, std::size_t limit, LineHandler handler)
      : pid(spawned.pid),
        pidfd(clock.executor(), spawned.pidfd.release()),
        pipe(clock.executor(), output.release()),
        ended(clock),
        output_limit(limit),
        on_line(std::move(handler)) {}

  void watch_exit() {
    pidfd.async_wait(asio::posix::descriptor_base::wait_read,
                     [self = shared_from_this()](const boost::system::error_code& error) {
                       if (!error && !self->abandoned) self->reap();
                     });
  }
  void watch_output() {
    pipe.async_wait(asio::posix::descriptor_base::wait_read,
                    [self = shared_from_this()](const boost::system::error_code& error) {
                      if (error || self->abandoned || !self->pipe.is_open()) return;
                      if (self->drain()) self->watch_output();
                    });
  }
  // Reads what is there; false at the end of the pipe.
  bool drain() {
    std::array<char, 16384> buffer{};
    for (int round = 0; round < 64; ++round) {
      const ssize_t got = read(pipe.native_handle(), buffer.data(), buffer.size());
      if (got > 0) {
        take({buffer.data(), static_cast<std::size_t>(got)});
      } else if (got < 0 && errno == EINTR) {
        continue;
      } else {
        return got < 0 && errno == EAGAIN;
      }
    }
    return true;
  }
  void take(std::string_view bytes) {
    tail.append(bytes);
    if (tail.size() > 2 * output_limit) tail.erase(0, tail.size() - output_limit);
    if (!on_line) return;
    for (const char c : bytes) {
      if (c == '\n' || c == '\r' || line.size() >= kLineLimit) {
        if (!line.empty()) on_line(line);
        line.clear();
      }
      if (c != '\n' && c != '\r') line += c;
    }
  }
  void reap() {
    int status = 0;
    if (done || waitpid(pid, &status, WNOHANG) == 0) return;
    done = true;
    // What a grandchild still prints is nobody's business: the pipe is closed with what is in it now.
    if (pipe.is_open()) {
      drain();
      if (on_line && !line.empty()) on_line(line);
      boost::system::error_code ignored;
      pipe.close(ignored);
    }
    result.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    result.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (tail.size() > output_limit) tail.erase(0, tail.size() - output_limit);
    result.output = std::move(tail);
    ended.notify();
  }

  pid_t pid;
  asio::posix::stream_descriptor pidfd;
  asio::posix::stream_descriptor pipe;
  Signal ended;
  std::size_t output_limit;
  LineHandler on_line;
  std::string tail, line;
  ChildExit result;
  bool done = false;
  bool abandoned = false;
};

ChildTask::ChildTask(std::shared_ptr<State> state) : state_(std::move(state)) {}

ChildTask::~ChildTask() {
  state_->abandoned = true;
  state_->on_line = {};
  if (!state_->done) {
    kill();
    waitpid(state_->pid, nullptr, 0);  // it was sent SIGKILL: this takes microseconds
    state_->done = true;
  }
  boost::system::error_code ignored;
  if (state_->pidfd.is_open()) state_->pidfd.close(ignored);
  if (state_->pipe.is_open()) state_->pipe.close(ignored);
}

Result<std::unique_ptr<ChildTask>> ChildTask::start(Clock& clock, ChildSpec spec, LineHandler on_line) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) {
    return fail(Errc::Failed, "cannot start", spec.argv.front(), errno_text(errno), "raise the limit of open files");
  }
  Fd output(ends[0]);
  Fd child_end(ends[1]);
  fcntl(output.get(), F_SETFL, O_NONBLOCK);
  Fd input;
  if (!spec.input.empty()) {
    PGV_TRY(file, input_file(spec.input));
    input = std::move(file);
  }
  SpawnOptions options;
  options.argv = std::move(spec.argv);
  options.environment = child_environment(spec.environment);
  options.directory = std::move(spec.directory);
  options.in = input.get();
  options.out = child_end.get();
  options.err = child_end.get();
  options.dies_with_us = spec.dies_with_us;
  PGV_TRY(spawned, spawn(options));
  auto state =
      std::make_shared<State>(clock, std::move(spawned), std::move(output), spec.output_limit, std::move(on_line));
  state->watch_exit();
  state->watch_output();
  return std::unique_ptr<ChildTask>(new ChildTask(std::move(state)));
}

Task<Result<ChildExit>> ChildTask::wait(TimePoint deadline) {
  auto state = state_;
  while (!state->done) {
    const bool ended = co_await state->ended.wait_until(deadline);
    if (ended || state->done) continue;
    ::kill(-state->pid, SIGKILL);
    // The pidfd tells within microseconds; the destructor reaps if nobody waits for it.
    co_return fail(Errc::Timeout, "the program did not end in time and was killed");
  }
  co_return state->result;
}

void ChildTask::kill() {
  if (!state_->done) ::kill(-state_->pid, SIGKILL);
}

bool ChildTask::running() const { return !state_->done; }

Task<Result<ChildExit>> run_program(Clock& clock, ChildSpec spec, TimePoint deadline) {
  auto started = ChildTask::start(clock, std::move(spec));
  if (!started) co_return tl::make_unexpected(std::move(started.error()));
  co_return co_await (*started)->wait(deadline);
}

}  // namespace pgvigil::postgres
