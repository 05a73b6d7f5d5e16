#include "netio/uring_loop.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace pgvigil::netio {

namespace {

constexpr unsigned kEntries = 512;
constexpr unsigned kCompletions = 4096;  // more than this are kept by the kernel, at a price

// The low bits of user_data say what completed; streams are pointers, aligned to more than that.
constexpr std::uint64_t kReceiveTag = 0;
constexpr std::uint64_t kSendTag = 1;
constexpr std::uint64_t kWatchTag = 2;
constexpr std::uint64_t kWakeTag = 3;
constexpr std::uint64_t kIgnoreTag = 4;
constexpr std::uint64_t kTagMask = 7;

std::uint64_t tagged(const StreamCore& stream, std::uint64_t tag) {
  return reinterpret_cast<std::uint64_t>(&stream) | tag;
}

}  // namespace

UringLoop::~UringLoop() {
  // The ring goes first: nothing writes into buffers or reads from send queues any more when they are freed.
  if (created_) io_uring_queue_exit(&ring_);
  destroy_streams();
}

void UringLoop::begin() {
  const int result = io_uring_register(static_cast<unsigned>(ring_.ring_fd), IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
  PGV_ASSERT(result == 0 ||
             result == -EBADFD);  // -EBADFD: run() a second time; the library of Debian 12 lacks the function for it
  // Spares the kernel a look into the table of descriptors at every call; belongs to this thread. Merely useful.
  io_uring_register_ring_fd(&ring_);
  read_wake();
}

io_uring_sqe& UringLoop::entry() {
  ++entries_;
  io_uring_sqe* entry = io_uring_get_sqe(&ring_);
  for (int i = 0; entry == nullptr && i < 1000; ++i) {
    submit();
    entry = io_uring_get_sqe(&ring_);
  }
  PGV_ASSERT(entry != nullptr);
  return *entry;
}

void UringLoop::submit() {
  io_uring_submit(&ring_);
  messages_used_ = 0;
}

void UringLoop::enter(TimePoint until) {
  const bool ready = io_uring_cq_ready(&ring_) != 0;
  if (!ready && !settle_soon_ && until > now() && about_to_wait()) {
    io_uring_cqe* completion = nullptr;
    if (until == TimePoint::max()) {
      io_uring_submit_and_wait(&ring_, 1);
    } else {
      const Duration left = until - now();
      __kernel_timespec timeout{left / 1s, (left % 1s).count()};
      io_uring_submit_and_wait_timeout(&ring_, &completion, 1, &timeout, nullptr);
    }
    awake();
  } else if (!ready || settle_soon_ || io_uring_sq_ready(&ring_) != 0) {
    io_uring_submit_and_get_events(&ring_);
  }
  messages_used_ = 0;
}

void UringLoop::wait(TimePoint until) {
  arm_watches();
  enter(until);
  read_clock();
  unsigned head = 0;
  unsigned count = 0;
  unsigned handled = 0;
  io_uring_cqe* completion = nullptr;
  // Sends first: a handler that is told of an answer must find the question sent.
  io_uring_for_each_cqe(&ring_, head, completion) {
    if ((completion->user_data & kTagMask) == kSendTag) handle(*completion);
    ++count;
  }
  settle_quick_sends();
  io_uring_for_each_cqe(&ring_, head, completion) {
    if (count-- == 0) break;
    if ((completion->user_data & kTagMask) != kSendTag) handle(*completion);
    ++handled;
  }
  io_uring_cq_advance(&ring_, handled);
  memory().scarce = buffers_.scarce();
  if (!starved_.empty()) feed_starved();
}

void UringLoop::handle(const io_uring_cqe& completion) {
  const std::uint64_t data = completion.user_data;
  switch (data & kTagMask) {
    case kReceiveTag: return handle_received(*reinterpret_cast<StreamCore*>(data), completion.res, completion.flags);
    case kSendTag: return handle_sent(*reinterpret_cast<StreamCore*>(data & ~kTagMask), completion.res);
    case kWatchTag: return handle_watch(data >> 3, completion.res);
    case kWakeTag: return read_wake();
    default: return;
  }
}

void UringLoop::handle_received(StreamCore& stream, int result, std::uint32_t flags) {
  if ((flags & IORING_CQE_F_MORE) == 0) {
    stream.receiving_ = false;
    stream.cancelling_ = false;
    enqueue(stream);  // to begin anew, or to end
  }
  BufferRef buffer;
  if (flags & IORING_CQE_F_BUFFER) buffer = buffers_.taken(flags);
  if (result > 0) {
    char* data = buffer.get()->data();
    stream.received({std::move(buffer), data, static_cast<std::size_t>(result)});
    if (stream.paused_ && stream.backlog_bytes() > kHighWater) enqueue(stream);
  } else if (result == -ENOBUFS) {
    if (buffers_.none_left() && !buffers_.grow() && !stream.starved_) {
      stream.starved_ = true;
      starved_.push_back(&stream);
    }
  } else if (result == 0) {
    stream.receive_ended(0);
  } else if (result != -ECANCELED && result != -EAGAIN && result != -EINTR) {
    stream.receive_ended(-result);
  }
}

// Only of sends that waited in the kernel, and of quick ones that failed or did not send everything.
void UringLoop::handle_sent(StreamCore& stream, int result) {
  const bool quick = !stream.blocked_;
  stream.sending_ = false;
  enqueue(stream);
  if (stream.send_error_ != 0) return stream.out_.clear(memory());
  if (result >= 0) {
    // Caught up as soon as an ordinary send took all there was.
    stream.blocked_ = quick || static_cast<std::size_t>(result) < stream.out_.bytes();
    if (result > 0) stream.sent(static_cast<std::size_t>(result));
  } else if (result == -EAGAIN || result == -EINTR || result == -ECANCELED) {
    stream.blocked_ = true;
  } else {
    stream.send_failed(-result);
  }
}

void UringLoop::settle_quick_sends() {
  // Entries that the kernel did not take from the queue (out of memory) are still to be submitted.
  const std::uint64_t submitted = entries_ - io_uring_sq_ready(&ring_);
  std::size_t kept = 0;
  for (const QuickSend& send : quick_sends_) {
    if (send.number > submitted) {
      quick_sends_[kept++] = send;
      continue;
    }
    StreamCore& stream = *send.stream;
    if (!stream.sending_ || stream.blocked_) continue;  // its completion said otherwise
    stream.sending_ = false;
    if (stream.send_error_ != 0) {
      stream.out_.clear(memory());
    } else {
      stream.sent(send.size);
    }
    if (stream.closed_ || stream.detaching_ || !stream.out_.empty()) enqueue(stream);
  }
  quick_sends_.resize(kept);
  settle_soon_ = kept > 0;
}

void UringLoop::start_send(StreamCore& stream) {
  io_uring_sqe& sqe = entry();
  const int flags = MSG_NOSIGNAL | (stream.blocked_ ? 0 : MSG_DONTWAIT | MSG_WAITALL);
  std::size_t size = 0;
  if (stream.out_.one_piece()) {
    const std::string_view bytes = stream.out_.front();
    size = bytes.size();
    io_uring_prep_send(&sqe, stream.fd_, bytes.data(), bytes.size(), flags);
  } else {
    if (messages_used_ == messages_.size()) messages_.push_back(std::make_unique<Message>());
    Message& message = *messages_[messages_used_++];
    message.header = {};
    message.header.msg_iov = message.pieces;
    message.header.msg_iovlen = static_cast<std::size_t>(stream.out_.gather(message.pieces, kPiecesMax));
    for (std::size_t i = 0; i < message.header.msg_iovlen; ++i) size += message.pieces[i].iov_len;
    io_uring_prep_sendmsg(&sqe, stream.fd_, &message.header, static_cast<unsigned>(flags));
  }
  sqe.user_data = tagged(stream, kSendTag);
  stream.sending_ = true;
  if (stream.blocked_) return;
  sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;
  quick_sends_.push_back({&stream, size, entries_});
  // Its success wakes nobody, so the loop must not wait where something is to follow it.
  if (stream.closed_ || stream.above_ || stream.unsent() > size) settle_soon_ = true;
}

void UringLoop::start_receive(StreamCore& stream) {
  io_uring_sqe& sqe = entry();
  io_uring_prep_recv_multishot(&sqe, stream.fd_, nullptr, 0, 0);
  sqe.flags |= IOSQE_BUFFER_SELECT;
  sqe.buf_group = UringBuffers::kGroup;
  sqe.user_data = tagged(stream, kReceiveTag);
  stream.receiving_ = true;
}

void UringLoop::stop_receive(StreamCore& stream) {
  io_uring_sqe& sqe = entry();
  io_uring_prep_cancel64(&sqe, tagged(stream, kReceiveTag), 0);
  sqe.user_data = kIgnoreTag;
  stream.cancelling_ = true;
}

void UringLoop::serve_stream(StreamCore& stream) {
  if (stream.sending_) {
    settle_soon_ = settle_soon_ || !stream.blocked_;  // what it is served for waits for the send to be over
  } else if (!stream.out_.empty()) {
    start_send(stream);
  }
  const bool wanted = stream.wants_receive() && !(stream.paused_ && stream.backlog_bytes() > kHighWater);
  if (wanted && !stream.receiving_ && !stream.starved_) start_receive(stream);
  if (!wanted && stream.receiving_ && !stream.cancelling_) stop_receive(stream);
}

bool UringLoop::release_stream(StreamCore& stream) {
  if (stream.starved_) std::erase(starved_, &stream);
  stream.starved_ = false;
  return !stream.receiving_ && !stream.sending_;
}

void UringLoop::feed_starved() {
  if (buffers_.none_left()) return;
  for (StreamCore* stream : std::exchange(starved_, {})) {
    stream->starved_ = false;
    enqueue(*stream);
  }
}

// One poll after the other instead of a multishot one: each looks at the state anew, which makes it level-triggered.
void UringLoop::arm_watches() {
  for (const WatchId id : watches_to_arm_) {
    const auto found = watches_.find(id);
    if (found == watches_.end() || found->second->armed) continue;
    Watch& watch = *found->second;
    unsigned mask = 0;
    if (watch.readiness & kReadable) mask |= POLLIN;
    if (watch.readiness & kWritable) mask |= POLLOUT;
    io_uring_sqe& sqe = entry();
    io_uring_prep_poll_add(&sqe, watch.fd, mask);
    sqe.user_data = id << 3 | kWatchTag;
    watch.armed = true;
  }
  watches_to_arm_.clear();
}

void UringLoop::start_watch(WatchId id, Watch&) { watches_to_arm_.push_back(id); }

void UringLoop::stop_watch(WatchId id, Watch& watch) {
  if (!watch.armed) return;
  io_uring_sqe& sqe = entry();
  io_uring_prep_poll_remove(&sqe, id << 3 | kWatchTag);
  sqe.user_data = kIgnoreTag;
}

void UringLoop::handle_watch(WatchId id, int result) {
  const auto found = watches_.find(id);
  if (found == watches_.end()) return;
  found->second->armed = false;
  std::uint32_t ready = 0;
  if (result < 0 || (result & (POLLERR | POLLHUP | POLLNVAL))) ready |= kFailed;
  if (result > 0 && (result & POLLIN)) ready |= kReadable;
  if (result > 0 && (result & POLLOUT)) ready |= kWritable;
  if (result >= 0) watches_to_arm_.push_back(id);
  call_watch(id, ready);
}

void UringLoop::read_wake() {
  io_uring_sqe& sqe = entry();
  io_uring_prep_read(&sqe, wake_fd(), &wake_value_, sizeof wake_value_, 0);
  sqe.user_data = kWakeTag;
}

Result<void> UringLoop::create() {
  // Best first; what an older kernel does not know is left out step by step.
  constexpr unsigned kBase = IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE | IORING_SETUP_SUBMIT_ALL;
  constexpr unsigned kSteps[] = {
      kBase | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN,
      kBase | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN,
      kBase | IORING_SETUP_COOP_TASKRUN,
      kBase,
  };
  int result = 0;
  for (const unsigned flags : kSteps) {
    io_uring_params params{};
    params.flags = flags;
    params.cq_entries = kCompletions;
    result = io_uring_queue_init_params(kEntries, &ring_, &params);
    if (result != -EINVAL) break;
  }
  if (result != 0) return fail(Errc::Unavailable, "cannot set up io_uring", {}, errno_text(-result));
  created_ = true;
  io_uring_ring_dontfork(&ring_);
  constexpr unsigned kNeeded = IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_EXT_ARG |
                               IORING_FEAT_FAST_POLL | IORING_FEAT_CQE_SKIP;
  if ((ring_.features & kNeeded) != kNeeded) {
    return fail(Errc::Unavailable, "cannot use io_uring", {}, "the kernel is too old");
  }
  result = buffers_.begin(ring_);
  if (result != 0) return fail(Errc::Unavailable, "cannot register io_uring buffers", {}, errno_text(-result));
  return {};
}

}  // namespace pgvigil::netio
