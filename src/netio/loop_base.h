// What both backends share: timers, calls from other threads, watches, the pending list, and the end of a turn.
//
// A turn: wait for the kernel, handle its events, calls from other threads, due timers, then at_turn_end() calls and
// the pending streams (deliver what was kept, send what was produced) until none is left. Memory of a closed stream is
// freed only there, so that events of the same turn may still point to it.
#pragma once

#include <atomic>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "netio/loop.h"
#include "netio/memory.h"
#include "netio/stream_core.h"
#include "netio/timers.h"

namespace pgvigil::netio {

class LoopBase : public Loop {
 public:
  LoopBase(const LoopBase&) = delete;
  LoopBase& operator=(const LoopBase&) = delete;
  ~LoopBase() override;

  void run() final;
  void stop() final;
  void post(std::function<void()> call) final;
  [[nodiscard]] TimePoint now() const final { return now_; }
  TimerId call_at(TimePoint when, std::function<void()> call) final { return timers_.add(when, std::move(call)); }
  void cancel(TimerId timer) final { timers_.cancel(timer); }
  void at_turn_end(std::function<void()> call) final { turn_end_.push_back(std::move(call)); }
  WatchId watch(int fd, std::uint32_t readiness, std::function<void(std::uint32_t)> call) final;
  void unwatch(WatchId id) final;
  StreamPtr adopt(int fd, StreamHandler& handler) final;
  StreamPtr adopt(Detached stream, StreamHandler& handler) final;

  [[nodiscard]] Memory& memory() { return memory_; }
  // The stream has something to do at the end of this turn.
  void enqueue(StreamCore& stream) {
    if (stream.pending_) return;
    stream.pending_ = true;
    pending_list_.push_back(&stream);
  }

 protected:
  struct Watch {
    int fd;
    std::uint32_t readiness;
    std::function<void(std::uint32_t)> call;
    bool armed = false;
  };

  explicit LoopBase(int wake_fd) : wake_fd_(wake_fd) {}

  // Only to be called by the destructor of the backend, while its stream operations still work.
  void destroy_streams();

  virtual void begin() {}  // on the loop's thread, before the first turn
  // Waits until something happens or `until` and handles the events. Calls about_to_wait() before it blocks.
  virtual void wait(TimePoint until) = 0;
  virtual void start_stream(StreamCore& stream) = 0;
  // Sends, receives what is readable, arms what has to be armed.
  virtual void serve_stream(StreamCore& stream) = 0;
  // Stops receiving. True once no operation of the loop refers to the stream.
  virtual bool release_stream(StreamCore& stream) = 0;
  virtual void start_watch(WatchId id, Watch& watch) = 0;
  virtual void stop_watch(WatchId id, Watch& watch) = 0;

  // False: something was posted meanwhile, do not block.
  bool about_to_wait();
  void awake() { waiting_.store(false, std::memory_order_relaxed); }
  void read_clock();
  void call_watch(WatchId id, std::uint32_t readiness);
  // For a stream that has more to do, but only after others had their turn.
  void enqueue_later(StreamCore& stream) { later_list_.push_back(&stream); }
  [[nodiscard]] int wake_fd() const { return wake_fd_; }

  std::unordered_map<WatchId, std::shared_ptr<Watch>> watches_;

 private:
  void run_posted();
  void finish_turn();
  void service(StreamCore& stream);
  void finish_close(StreamCore& stream);
  void destroy(StreamCore& stream);
  StreamCore& create(int fd, StreamHandler& handler);
  void wake();

  const int wake_fd_;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> posted_any_ = false;
  std::atomic<bool> waiting_ = false;
  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;  // under mutex_

  TimePoint now_;
  Timers timers_;
  std::vector<std::function<void()>> turn_end_;
  std::vector<std::function<void()>> turn_end_running_;
  std::vector<StreamCore*> pending_list_;
  std::vector<StreamCore*> pending_running_;
  std::vector<StreamCore*> later_list_;
  std::unordered_map<StreamCore*, TimerId> linger_timers_;
  StreamCore* streams_ = nullptr;
  WatchId next_watch_ = 1;
  Memory memory_;
};

}  // namespace pgvigil::netio
