#include "postgres/write_probe.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <thread>

#include "postgres/spawn.h"

namespace pgvigil::postgres {
namespace {

Result<void> write_block(const std::string& path) {
  const auto failed = [&path](int error) {
    unlink(path.c_str());
    return fail(Errc::Failed, "the disk takes no writes", path, errno_text(error));
  };
  const Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file.valid()) return failed(errno);
  static constexpr std::array<char, 8192> kBlock{};
  errno = ENOSPC;  // a short write leaves it as it is
  if (pwrite(file.get(), kBlock.data(), kBlock.size(), 0) != static_cast<ssize_t>(kBlock.size())) return failed(errno);
  if (fdatasync(file.get()) != 0) return failed(errno);
  unlink(path.c_str());  // what stayed would be taken for a block that a full disk still has
  return {};
}

}  // namespace

struct WriteProbe::State {
  explicit State(Clock& clock) : ended(clock) {}
  Signal ended;
  Result<void> result;
  bool running = false;
};

// Base backups and pg_rewind leave out what is named so.
WriteProbe::WriteProbe(Clock& clock, std::string directory)
    : clock_(clock), path_(std::move(directory) + "/pgsql_tmp_pgvigil_probe"), state_(std::make_shared<State>(clock)) {}

Task<Result<void>> WriteProbe::run(TimePoint deadline) {
  const auto state = state_;
  if (!state->running) {
    state->running = true;
    std::thread([state, path = path_, executor = clock_.executor()] {
      auto result = write_block(path);
      asio::post(executor, [state, result = std::move(result)] {
        state->result = result;
        state->running = false;
        state->ended.notify();
      });
    }).detach();
  }
  while (state->running) {
    if (!co_await state->ended.wait_until(deadline)) {
      if (!state->running) break;
      co_return fail(Errc::Timeout, "the disk takes no writes", path_, "a block is not written and synced in time");
    }
  }
  co_return state->result;
}

}  // namespace pgvigil::postgres
