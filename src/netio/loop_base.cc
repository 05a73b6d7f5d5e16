#include "netio/loop_base.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "netio/tls_session.h"

namespace pgvigil::netio {

namespace {

// Handlers that run at a turn's end may produce more work for it. A chain longer than this waits for the next turn, so
// that two streams that answer each other inside the process do not keep the others waiting.
constexpr int kRoundsMax = 8;

}  // namespace

LoopBase::~LoopBase() {
  PGV_ASSERT(streams_ == nullptr);
  ::close(wake_fd_);
}

void LoopBase::read_clock() { now_ = boottime_now(); }

void LoopBase::run() {
  read_clock();
  begin();
  while (!stop_.load(std::memory_order_acquire)) {
    TimePoint until = timers_.next();
    if (!pending_list_.empty() || !later_list_.empty() || !turn_end_.empty()) until = TimePoint();
    for (StreamCore* stream : std::exchange(later_list_, {})) enqueue(*stream);
    wait(until);
    if (posted_any_.load(std::memory_order_acquire)) run_posted();
    timers_.run(now_);
    finish_turn();
  }
}

void LoopBase::stop() {
  stop_.store(true);
  wake();
}

void LoopBase::post(std::function<void()> call) {
  {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(call));
    posted_any_.store(true);
  }
  wake();
}

// The loop sets waiting_ and then looks at posted_any_; the poster sets posted_any_ and then looks at waiting_. Both
// orders are sequentially consistent, so one of them sees the other. Only the first poster pays for the system call.
void LoopBase::wake() {
  if (!waiting_.exchange(false)) return;
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(wake_fd_, &one, sizeof one);
}

bool LoopBase::about_to_wait() {
  waiting_.store(true);
  if (!posted_any_.load() && !stop_.load()) return true;
  waiting_.store(false, std::memory_order_relaxed);
  return false;
}

void LoopBase::run_posted() {
  std::vector<std::function<void()>> calls;
  {
    const std::lock_guard lock(mutex_);
    calls.swap(posted_);
    posted_any_.store(false);
  }
  for (const auto& call : calls) call();
}

void LoopBase::finish_turn() {
  for (int round = 0; round < kRoundsMax && !(turn_end_.empty() && pending_list_.empty()); ++round) {
    turn_end_running_.swap(turn_end_);
    for (const auto& call : turn_end_running_) call();
    turn_end_running_.clear();
    pending_running_.swap(pending_list_);
    for (StreamCore* stream : pending_running_) {
      stream->pending_ = false;
      service(*stream);
    }
    pending_running_.clear();
  }
}

void LoopBase::service(StreamCore& stream) {
  if (!stream.closed_ && !stream.detaching_) stream.run_deferred();
  if (stream.tls_ != nullptr) stream.tls_->flush(stream);
  serve_stream(stream);
  if (stream.closed_) return finish_close(stream);
  if (stream.detaching_ && !stream.pending_ && stream.unsent() == 0 && release_stream(stream)) {
    const auto done = std::move(*stream.detached_);
    Detached state = stream.give_away();
    // While the callback runs the object still exists: its owner may let go of it there.
    done(std::move(state));
    destroy(stream);
  }
}

void LoopBase::finish_close(StreamCore& stream) {
  if (stream.unsent() > 0 && stream.fd_ >= 0) {
    if (!stream.lingering_) {
      stream.lingering_ = true;
      linger_timers_[&stream] = call_at(now_ + std::chrono::seconds(kLingerSeconds), [this, &stream] {
        stream.send_failed(ETIMEDOUT);
        enqueue(stream);
      });
    }
    release_stream(stream);
    return;
  }
  if (!release_stream(stream) || stream.pending_) return;
  destroy(stream);
}

void LoopBase::destroy(StreamCore& stream) {
  // It may have been put off to the next turn, or onto the list again by the last calls made for it.
  std::erase(later_list_, &stream);
  if (stream.pending_) std::erase(pending_list_, &stream);
  if (stream.lingering_) {
    const auto timer = linger_timers_.find(&stream);
    timers_.cancel(timer->second);
    linger_timers_.erase(timer);
  }
  if (stream.fd_ >= 0) {
    // Unread bytes would make close() send a reset, which can overtake what was sent last, such as an error message.
    ::shutdown(stream.fd_, SHUT_WR);
    ::recv(stream.fd_, nullptr, kHighWater, MSG_TRUNC | MSG_DONTWAIT);
    ::close(stream.fd_);
    stream.fd_ = -1;
  }
  (stream.previous_ != nullptr ? stream.previous_->next_ : streams_) = stream.next_;
  if (stream.next_ != nullptr) stream.next_->previous_ = stream.previous_;
  delete &stream;
}

void LoopBase::destroy_streams() {
  // Calls that will not be made any more may own streams and buffers.
  posted_.clear();
  turn_end_.clear();
  watches_.clear();
  timers_ = {};
  while (streams_ != nullptr) destroy(*streams_);
}

StreamCore& LoopBase::create(int fd, StreamHandler& handler) {
  auto* stream = new StreamCore(*this, fd, handler);
  stream->next_ = streams_;
  if (streams_ != nullptr) streams_->previous_ = stream;
  streams_ = stream;
  return *stream;
}

StreamPtr LoopBase::adopt(int fd, StreamHandler& handler) {
  StreamCore& stream = create(fd, handler);
  start_stream(stream);
  return StreamPtr(&stream);
}

StreamPtr LoopBase::adopt(Detached state, StreamHandler& handler) {
  StreamCore& stream = create(std::exchange(state->fd, -1), handler);
  stream.tls_ = std::move(state->tls);
  stream.paused_ = state->paused;
  if (!state->received.empty()) stream.keep({{}, state->received.data(), state->received.size()});
  stream.ended_ = state->ended;
  stream.end_error_ = state->end_error;
  start_stream(stream);
  if (stream.ended_ || stream.backlog_ != nullptr) enqueue(stream);
  return StreamPtr(&stream);
}

Loop::WatchId LoopBase::watch(int fd, std::uint32_t readiness, std::function<void(std::uint32_t)> call) {
  const WatchId id = next_watch_++;
  auto watch = std::make_shared<Watch>(Watch{fd, readiness, std::move(call)});
  Watch& added = *watch;
  watches_.emplace(id, std::move(watch));
  start_watch(id, added);
  return id;
}

void LoopBase::unwatch(WatchId id) {
  const auto found = watches_.find(id);
  if (found == watches_.end()) return;
  stop_watch(id, *found->second);
  watches_.erase(found);
}

void LoopBase::call_watch(WatchId id, std::uint32_t readiness) {
  const auto found = watches_.find(id);
  if (found == watches_.end()) return;
  const std::shared_ptr<Watch> watch = found->second;  // the handler may unwatch itself
  watch->call(readiness);
}

}  // namespace pgvigil::netio
