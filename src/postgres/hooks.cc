#include "postgres/hooks.h"

#include <signal.h>
#include <sys/wait.h>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "postgres/spawn.h"

namespace pgvigil::postgres {

struct Callbacks::Running {
  Running(Clock& clock, Spawned spawned) : pid(spawned.pid), watch(clock.executor(), spawned.pidfd.release()) {}
  pid_t pid;
  asio::posix::stream_descriptor watch;
  bool done = false;
};

Callbacks::~Callbacks() = default;

void Callbacks::run(const std::string& command, const std::string& action, const std::string& role,
                    const std::string& scope) {
  auto words = split_command(command);
  if (!words) {
    log_.error("callback {} is not run: {}", action, words.error().message());
    return;
  }
  auto& slot = action == "on_reload" ? reload_ : change_;
  if (slot && !slot->done) {
    log_.warning("the callback that still runs (pid {}) is killed: {} is due", slot->pid, action);
    kill(-slot->pid, SIGKILL);
  }
  SpawnOptions options;
  options.argv = std::move(*words);
  options.argv.insert(options.argv.end(), {action, role, scope});
  options.environment = child_environment();
  auto spawned = spawn(options);
  if (!spawned) {
    log_.error("callback {} is not run: {}", action, spawned.error().message());
    return;
  }
  auto running = std::make_shared<Running>(clock_, std::move(*spawned));
  slot = running;
  // The handler owns what it watches: a replaced callback is still reaped, also after this object is gone.
  auto& watch = running->watch;
  watch.async_wait(asio::posix::descriptor_base::wait_read,
                   [running, log = log_, action](const boost::system::error_code& error) {
                     int status = 0;
                     if (error || waitpid(running->pid, &status, WNOHANG) <= 0) return;
                     running->done = true;
                     if (WIFEXITED(status) && WEXITSTATUS(status) != 0) {
                       log.warning("callback {} ended with exit code {}", action, WEXITSTATUS(status));
                     }
                     boost::system::error_code ignored;
                     running->watch.close(ignored);
                   });
}

Task<Result<void>> run_hook(Clock& clock, std::string name, std::string command, TimePoint deadline) {
  auto words = split_command(command);
  if (!words) co_return tl::make_unexpected(std::move(words.error()));
  ChildSpec spec;
  spec.argv = std::move(*words);
  spec.dies_with_us = false;
  auto ended = co_await run_program(clock, std::move(spec), deadline);
  if (!ended) co_return tl::make_unexpected(std::move(ended.error()));
  if (!ended->ok()) co_return fail(Errc::Failed, name + " failed", command, ended->cause(), "see what the script says");
  co_return Result<void>();
}

}  // namespace pgvigil::postgres
