#include "guard/unix_link.h"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

extern char** environ;

namespace pgvigil::guard {
namespace {

constexpr Duration kAnswerMax = std::chrono::milliseconds(100);
constexpr auto kEndMax = std::chrono::milliseconds(500);
constexpr Duration kStartMax = std::chrono::seconds(2);

tl::unexpected<Error> trouble(std::string cause) {
  return fail(Errc::Unavailable, "the guard does not answer", {}, std::move(cause),
              "without it this member does not lead; look at the agent's error output");
}

}  // namespace

UnixGuardLink::~UnixGuardLink() {
  drop();
  if (guard_pidfd_ >= 0) close(guard_pidfd_);
}

void UnixGuardLink::drop() {
  if (socket_ >= 0) close(socket_);
  socket_ = -1;
  if (child_ != 0 && waitpid(child_, nullptr, WNOHANG) != 0) child_ = 0;
}

void UnixGuardLink::know_peer() {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(socket_, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.pid <= 0) return;
  const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, peer.pid, 0U));
  if (pidfd < 0) return;
  if (guard_pidfd_ >= 0) close(guard_pidfd_);
  guard_pidfd_ = pidfd;
}

bool UnixGuardLink::end_guard() {
  if (guard_pidfd_ < 0 || syscall(SYS_pidfd_send_signal, guard_pidfd_, SIGKILL, nullptr, 0U) != 0) return false;
  pollfd ended{guard_pidfd_, POLLIN, 0};
  if (poll(&ended, 1, static_cast<int>(kEndMax.count())) <= 0) return false;
  close(guard_pidfd_);
  guard_pidfd_ = -1;
  drop();
  return true;
}

Result<void> UnixGuardLink::spawn() {
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  const std::string idle = std::to_string(options_.idle_seconds);
  char* argv[] = {options_.program.data(), options_.socket.data(), options_.data_dir.data(),
                  const_cast<char*>(idle.c_str()), nullptr};
  pid_t pid = 0;
  const int error = posix_spawn(&pid, options_.program.c_str(), nullptr, &attributes, argv, environ);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    return fail(Errc::Failed, "cannot start the guard", options_.program, errno_text(error), "reinstall pgvigil");
  }
  child_ = pid;
  return {};
}

Result<void> UnixGuardLink::connect(bool start) {
  if (socket_ >= 0) return {};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (options_.socket.size() >= sizeof address.sun_path) {
    return fail(Errc::InvalidConfig, "the path of the guard's socket is too long", options_.socket, {},
                "use a shorter one");
  }
  std::memcpy(address.sun_path, options_.socket.data(), options_.socket.size());
  bool spawned = false;
  const TimePoint limit = boottime_now() + kStartMax;
  for (;;) {
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0) return trouble(errno_text(errno));
    // Before the connection: a guard that is frozen accepts none, and once its queue is full connect() itself would
    // wait for as long as it stays so, and with it the agent, which then neither renews nor stops.
    timeval wait{};
    wait.tv_usec = std::chrono::duration_cast<std::chrono::microseconds>(kAnswerMax).count();
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
      socket_ = fd;
      know_peer();
      return {};
    }
    const int error = errno;
    close(fd);
    if (error != ENOENT && error != ECONNREFUSED) return trouble(errno_text(error));
    if (!start) return fail(Errc::NotFound, "no guard runs", options_.socket);
    if (!spawned) PGV_TRY_VOID(spawn());
    spawned = true;
    if (boottime_now() > limit) return trouble("it was started and does not listen");
    const timespec pause{0, 2'000'000};
    nanosleep(&pause, nullptr);
  }
}

Result<Reply> UnixGuardLink::ask(const Request& request, bool start) {
  // Twice: the first connection may be one to a guard that has ended since.
  for (int attempt = 0; attempt < 2; ++attempt) {
    PGV_TRY_VOID(connect(start));
    Reply reply;
    if (send(socket_, &request, sizeof request, MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof request)) {
      const ssize_t got = recv(socket_, &reply, sizeof reply, 0);
      if (got == static_cast<ssize_t>(sizeof reply) && reply.magic == kMagic) return reply;
      if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        drop();
        return trouble("no answer within 100 ms");
      }
    }
    drop();
  }
  return trouble("the connection broke");
}

Result<void> UnixGuardLink::arm(TimePoint deadline, std::int64_t postmaster_pid) {
  Request request;
  request.op = Op::Arm;
  request.deadline_ns = deadline.since_boot().count();
  request.pid = postmaster_pid;
  PGV_TRY(reply, ask(request, true));
  if (reply.error == 0) return {};
  return fail(Errc::Refused, "the guard refuses the deadline", fmt::format("postmaster {}", postmaster_pid),
              errno_text(reply.error));
}

Result<void> UnixGuardLink::disarm() {
  Request request;
  request.op = Op::Disarm;
  auto reply = ask(request, false);
  if (reply || reply.error().code == Errc::NotFound || end_guard()) return {};
  return tl::make_unexpected(reply.error());
}

Result<GuardStatus> UnixGuardLink::status() {
  Request request;
  auto reply = ask(request, false);
  if (!reply) return tl::make_unexpected(reply.error());
  return GuardStatus{reply->pid, TimePoint(Duration(reply->deadline_ns)), reply->kills};
}

}  // namespace pgvigil::guard
