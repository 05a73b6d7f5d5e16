// Whether this kernel, as it lets us, can do what the io_uring backend needs. Version numbers tell too little (filters
// of system calls, backports), so the things that matter are tried.
#include <liburing.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "netio/uring_loop.h"

namespace pgvigil::netio {

namespace {

struct ProbeRing {
  ProbeRing() : result(io_uring_queue_init(8, &ring, 0)) {}
  ProbeRing(const ProbeRing&) = delete;
  ProbeRing& operator=(const ProbeRing&) = delete;
  ~ProbeRing() {
    if (result == 0) io_uring_queue_exit(&ring);
    for (const int fd : sockets) {
      if (fd >= 0) ::close(fd);
    }
  }
  io_uring ring{};
  int result;
  int sockets[2] = {-1, -1};
};

Result<void> probe() {
  UringBuffers buffers;  // outlives the ring
  ProbeRing probe;
  if (probe.result != 0) return fail(Errc::Unavailable, errno_text(-probe.result));
  if (const int result = buffers.begin(probe.ring); result != 0) {
    return fail(Errc::Unavailable, "buffer rings", {}, errno_text(-result));
  }
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, probe.sockets) != 0) {
    return fail(Errc::Unavailable, "socketpair", {}, errno_text(errno));
  }
  io_uring_sqe* receive = io_uring_get_sqe(&probe.ring);
  io_uring_prep_recv_multishot(receive, probe.sockets[0], nullptr, 0, 0);
  receive->flags |= IOSQE_BUFFER_SELECT;
  receive->buf_group = UringBuffers::kGroup;
  receive->user_data = 1;
  io_uring_sqe* send = io_uring_get_sqe(&probe.ring);
  io_uring_prep_send(send, probe.sockets[1], "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT | MSG_WAITALL);
  send->flags |= IOSQE_CQE_SKIP_SUCCESS;
  send->user_data = 2;
  io_uring_cqe* completion = nullptr;
  __kernel_timespec timeout{2, 0};
  int result = io_uring_submit_and_wait_timeout(&probe.ring, &completion, 1, &timeout, nullptr);
  if (result < 0 || completion == nullptr) return fail(Errc::Unavailable, "no completion", {}, errno_text(-result));
  if (completion->res < 0) return fail(Errc::Unavailable, "multishot receive", {}, errno_text(-completion->res));
  const bool received = completion->user_data == 1 && completion->res == 1 && (completion->flags & IORING_CQE_F_MORE) &&
                        (completion->flags & IORING_CQE_F_BUFFER);
  if (!received) return fail(Errc::Unavailable, "multishot receive", {}, "not as documented");
  io_uring_cqe_seen(&probe.ring, completion);

  // More than the socket holds and nobody reads: this one has to say how much it sent.
  const std::string much(4'000'000, 'x');
  send = io_uring_get_sqe(&probe.ring);
  io_uring_prep_send(send, probe.sockets[0], much.data(), much.size(), MSG_NOSIGNAL | MSG_DONTWAIT | MSG_WAITALL);
  send->flags |= IOSQE_CQE_SKIP_SUCCESS;
  send->user_data = 3;
  result = io_uring_submit_and_wait_timeout(&probe.ring, &completion, 1, &timeout, nullptr);
  if (result < 0 || completion == nullptr) return fail(Errc::Unavailable, "no completion", {}, errno_text(-result));
  const bool sent = completion->user_data == 3 && (completion->res == -EAGAIN || completion->res > 0) &&
                    completion->res < static_cast<int>(much.size());
  if (!sent) return fail(Errc::Unavailable, "a send that does not wait", {}, "not as documented");
  return {};
}

}  // namespace

Result<std::unique_ptr<Loop>> make_uring_loop() {
  static const Result<void> usable = probe();
  PGV_TRY_VOID(Result<void>(usable));
  // Blocking: the ring's read waits for it instead of failing with EAGAIN.
  const int wake_fd = ::eventfd(0, EFD_CLOEXEC);
  if (wake_fd < 0) return fail(Errc::Failed, "cannot create an eventfd", {}, errno_text(errno));
  auto loop = std::make_unique<UringLoop>(wake_fd);
  PGV_TRY_VOID(loop->create());
  return loop;
}

}  // namespace pgvigil::netio
