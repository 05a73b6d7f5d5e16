// One event loop per worker thread. Completion-shaped: a receive hands over a buffer, a send reports when there is room
// again. Two backends: io_uring (multishot receive into provided buffers, one submission a turn) and epoll, for where
// io_uring is not permitted. Everything except post() and stop() belongs to the loop's own thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/error.h"
#include "base/time.h"
#include "netio/stream.h"

namespace pgvigil::netio {

enum class Backend : std::uint8_t { Auto, Uring, Epoll };

struct LoopOptions {
  Backend backend = Backend::Auto;  // Auto: io_uring when the kernel permits all that we need of it, else epoll
};

// Readiness, for what is not a stream of bytes: listeners, connects under way, signals, resolvers. Level-triggered.
enum Readiness : std::uint32_t { kReadable = 1, kWritable = 2, kFailed = 4 };  // kFailed: error or hang-up, always told

class Loop {
 public:
  using TimerId = std::uint64_t;
  using WatchId = std::uint64_t;

  virtual ~Loop() = default;

  // The chosen backend, and for Auto why it was chosen: "io_uring" or "epoll (io_uring: Operation not permitted)".
  [[nodiscard]] virtual std::string backend_text() const = 0;

  // Runs until stop(). The thread that calls it is the loop's thread.
  virtual void run() = 0;
  virtual void stop() = 0;                            // from any thread, also from a handler
  virtual void post(std::function<void()> call) = 0;  // from any thread; runs on the loop's thread, in order
  // (A call of either that has not returned yet still uses the loop, even if what it asked for has happened.)

  // The time of this turn: read once after the kernel's wait returned.
  [[nodiscard]] virtual TimePoint now() const = 0;
  virtual TimerId call_at(TimePoint when, std::function<void()> call) = 0;
  virtual void cancel(TimerId timer) = 0;

  // Runs once at the end of the current turn, after all its events were handled and before the loop waits again.
  virtual void at_turn_end(std::function<void()> call) = 0;

  // The descriptor stays the caller's. unwatch() may be called from the handler itself.
  virtual WatchId watch(int fd, std::uint32_t readiness, std::function<void(std::uint32_t)> call) = 0;
  virtual void unwatch(WatchId id) = 0;

  // Takes over a connected, nonblocking socket and begins to receive. The handler must outlive the stream.
  virtual StreamPtr adopt(int fd, StreamHandler& handler) = 0;
  // Takes over a stream that detach() of another loop gave away. What was received and not delivered is delivered here.
  virtual StreamPtr adopt(Detached stream, StreamHandler& handler) = 0;
};

Result<std::unique_ptr<Loop>> make_loop(const LoopOptions& options);

}  // namespace pgvigil::netio
