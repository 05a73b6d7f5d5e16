#include "netio/epoll_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cerrno>

#include <algorithm>
#include <utility>

namespace pgvigil::netio {

namespace {

constexpr int kEventsMax = 256;
// Bulk data: a stream may be read this often in a row before the others have their turn.
constexpr int kReadsMax = 4;
constexpr int kPiecesMax = 16;

// The two low bits of epoll's user data say what it is; streams are pointers.
constexpr std::uint64_t kStreamTag = 0;
constexpr std::uint64_t kWatchTag = 1;
constexpr std::uint64_t kWakeTag = 2;
constexpr std::uint64_t kTagMask = 3;

// Rounded up: a timer that is not yet due when the wait returns would cost another turn.
int milliseconds_until(TimePoint until, TimePoint now) {
  if (until <= now) return 0;
  if (until == TimePoint::max()) return -1;
  return static_cast<int>(std::min<std::int64_t>((until - now + 999999ns) / 1ms, 3600'000));
}

}  // namespace

EpollLoop::EpollLoop(int epoll_fd, int wake_fd, std::string text)
    : LoopBase(wake_fd), epoll_fd_(epoll_fd), text_(std::move(text)) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kWakeTag;
  PGV_ASSERT(::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, wake_fd, &event) == 0);
}

EpollLoop::~EpollLoop() {
  destroy_streams();
  ::close(epoll_fd_);
}

void EpollLoop::wait(TimePoint until) {
  epoll_event events[kEventsMax];
  int timeout = milliseconds_until(until, now());
  if (timeout != 0 && !about_to_wait()) timeout = 0;
  const int count = ::epoll_wait(epoll_fd_, events, kEventsMax, timeout);
  awake();
  read_clock();
  for (int i = 0; i < count; ++i) {
    const std::uint64_t data = events[i].data.u64;
    switch (data & kTagMask) {
      case kStreamTag: handle_stream(*reinterpret_cast<StreamCore*>(data), events[i].events); break;
      case kWatchTag: {
        std::uint32_t ready = 0;
        if (events[i].events & (EPOLLIN | EPOLLRDHUP)) ready |= kReadable;
        if (events[i].events & EPOLLOUT) ready |= kWritable;
        if (events[i].events & (EPOLLERR | EPOLLHUP)) ready |= kFailed;
        call_watch(data >> 2, ready);
        break;
      }
      default: {
        std::uint64_t value = 0;
        [[maybe_unused]] const auto got = ::read(wake_fd(), &value, sizeof value);
      }
    }
  }
}

void EpollLoop::set_events(StreamCore& stream, int operation) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
  if (stream.blocked_) event.events |= EPOLLOUT;
  event.data.u64 = reinterpret_cast<std::uint64_t>(&stream) | kStreamTag;
  if (::epoll_ctl(epoll_fd_, operation, stream.fd_, &event) == 0) return;
  // Out of memory or of watches. The end is told from the loop, not from inside the method that came here.
  if (!stream.ended_) stream.end_error_ = errno;
  stream.ended_ = true;
  enqueue(stream);
}

void EpollLoop::start_stream(StreamCore& stream) { set_events(stream, EPOLL_CTL_ADD); }

void EpollLoop::handle_stream(StreamCore& stream, std::uint32_t events) {
  if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) stream.hung_up_ = true;
  if (stream.closed_ && (events & (EPOLLHUP | EPOLLERR))) return stream.send_failed(ECONNRESET);
  if ((events & EPOLLOUT) && stream.blocked_) {
    stream.blocked_ = false;
    set_events(stream, EPOLL_CTL_MOD);
    enqueue(stream);
  }
  if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
    stream.readable_ = true;
    read_stream(stream);
  }
}

void EpollLoop::read_stream(StreamCore& stream) {
  for (int i = 0; i < kReadsMax; ++i) {
    if (!stream.wants_receive() || !stream.readable_) return;
    // A paused stream is left unread, except that its end has to be noticed.
    if (stream.paused_ && (!stream.hung_up_ || stream.backlog_bytes() > kHighWater)) return;
    BufferRef buffer = memory().buffers.take();
    char* data = buffer.get()->data();
    const auto got = ::recv(stream.fd_, data, kBufferBytes, MSG_DONTWAIT);
    if (got > 0) {
      const auto size = static_cast<std::size_t>(got);
      // Short: the socket is empty, and what comes later raises a new edge; only an end that is already there would
      // not.
      if (size < kBufferBytes && !stream.hung_up_) stream.readable_ = false;
      stream.received({std::move(buffer), data, size});
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
      stream.readable_ = false;
      return stream.receive_ended(got == 0 ? 0 : errno);
    } else if (errno == EAGAIN) {
      stream.readable_ = false;
      return;
    }
  }
  if (stream.readable_) enqueue_later(stream);
}

void EpollLoop::write_stream(StreamCore& stream) {
  while (!stream.out_.empty() && !stream.blocked_) {
    ssize_t done = 0;
    std::size_t wanted = 0;
    if (stream.out_.one_piece()) {
      const std::string_view bytes = stream.out_.front();
      wanted = bytes.size();
      done = ::send(stream.fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    } else {
      iovec pieces[kPiecesMax];
      msghdr message{};
      message.msg_iov = pieces;
      message.msg_iovlen = static_cast<std::size_t>(stream.out_.gather(pieces, kPiecesMax));
      for (std::size_t i = 0; i < message.msg_iovlen; ++i) wanted += pieces[i].iov_len;
      done = ::sendmsg(stream.fd_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    if (done < 0 && errno == EINTR) continue;
    if (done < 0 && errno != EAGAIN) return stream.send_failed(errno);
    if (done < static_cast<ssize_t>(wanted)) {
      stream.blocked_ = true;
      set_events(stream, EPOLL_CTL_MOD);
    }
    if (done > 0) stream.sent(static_cast<std::size_t>(done));
  }
}

void EpollLoop::serve_stream(StreamCore& stream) {
  if (!stream.out_.empty() && !stream.blocked_) write_stream(stream);
  if (stream.readable_) read_stream(stream);
}

bool EpollLoop::release_stream(StreamCore& stream) {
  // A lingering stream still needs EPOLLOUT. Otherwise deregister even before close(): a child that another thread
  // forks at this moment may hold the descriptor, and the kernel would go on to report a stream that no longer exists.
  if (stream.unsent() == 0 && stream.fd_ >= 0) ::epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, stream.fd_, nullptr);
  return true;
}

void EpollLoop::start_watch(WatchId id, Watch& watch) {
  epoll_event event{};
  if (watch.readiness & kReadable) event.events |= EPOLLIN;
  if (watch.readiness & kWritable) event.events |= EPOLLOUT;
  event.data.u64 = id << 2 | kWatchTag;
  if (::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, watch.fd, &event) == 0) return;
  post([this, id] { call_watch(id, kFailed); });
}

void EpollLoop::stop_watch(WatchId, Watch& watch) { ::epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, watch.fd, nullptr); }

Result<std::unique_ptr<Loop>> make_epoll_loop(std::string text) {
  const int epoll_fd = ::epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd < 0) return fail(Errc::Failed, "cannot create an epoll descriptor", {}, errno_text(errno));
  const int wake_fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_fd < 0) {
    const int error = errno;
    ::close(epoll_fd);
    return fail(Errc::Failed, "cannot create an eventfd", {}, errno_text(error));
  }
  return std::make_unique<EpollLoop>(epoll_fd, wake_fd, std::move(text));
}

}  // namespace pgvigil::netio
