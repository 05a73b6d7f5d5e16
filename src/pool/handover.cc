#include "pool/handover.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace pgvigil::pool {
namespace {

constexpr std::size_t kSocketsMax = 64;
constexpr std::size_t kMessageMax = 256;
constexpr long kAnswerSeconds = 10;
constexpr char kOwnLetter = 'o', kManagerLetter = 'm';

struct Name {
  sockaddr_un address{};
  socklen_t size = 0;
};
Result<Name> name_of(const std::string& path) {
  Name name;
  name.address.sun_family = AF_UNIX;
  if (path.size() >= sizeof name.address.sun_path) {
    return fail(Errc::InvalidConfig, "the path of the handover socket is too long", path, {},
                "set unix_socket_dir to a shorter directory");
  }
  std::memcpy(name.address.sun_path, path.data(), path.size());
  const bool abstract = path.front() == '@';
  if (abstract) name.address.sun_path[0] = '\0';
  name.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + (abstract ? 0 : 1));
  return name;
}

bool of_our_user(int fd) {
  const auto peer = unix_credentials(fd);
  return peer && peer->uid == geteuid();
}

bool say(int fd, std::string_view text) {
  return ::send(fd, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
}

struct Received {
  std::string text;  // empty: the other side has ended, or an error
  std::vector<int> descriptors;
};
Received receive(int fd) {
  std::array<char, kMessageMax> text{};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kSocketsMax * sizeof(int))> control{};
  iovec piece{text.data(), text.size()};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t size = 0;
  do {
    size = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  Received received;
  if (size > 0) received.text.assign(text.data(), static_cast<std::size_t>(size));
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    received.descriptors.resize(count);
    std::memcpy(received.descriptors.data(), CMSG_DATA(part), count * sizeof(int));
  }
  return received;
}

}  // namespace

std::string handover_path(const poolcfg::Settings& settings) {
  const auto slash = settings.pidfile.rfind('/');
  const std::string beside_pidfile = slash == std::string::npos ? "" : settings.pidfile.substr(0, slash);
  const std::string directory = settings.unix_socket_dir.empty() ? beside_pidfile : settings.unix_socket_dir;
  return directory.empty() ? "" : fmt::format("{}/.s.pgvigil-pool.{}", directory, settings.listen_port);
}

Takeover::Takeover(Takeover&& other) noexcept
    : sockets(std::move(other.sockets)),
      files(std::move(other.files)),
      pid(other.pid),
      fd_(std::exchange(other.fd_, -1)) {}

Takeover::~Takeover() {
  if (fd_ >= 0) ::close(fd_);
}

Result<Takeover> Takeover::begin(const std::string& path) {
  PGV_TRY(name, name_of(path));
  Takeover takeover(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const int fd = takeover.fd_;
  const timeval limit{kAnswerSeconds, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&name.address), name.size) != 0) {
    return fail(errno == ENOENT || errno == ECONNREFUSED ? Errc::NotFound : Errc::Failed,
                "cannot take over from a running pooler", path, errno_text(errno));
  }
  if (!of_our_user(fd)) {
    return fail(Errc::Refused, "cannot take over from a running pooler", path, "it belongs to another user",
                "start this process as that user");
  }
  say(fd, "TAKE 1");
  Received answer = receive(fd);
  std::array<char, kSocketsMax + 1> letters{};
  const int fields = std::sscanf(answer.text.c_str(), "SOCKETS 1 %d %64s", &takeover.pid, letters.data());
  const std::string_view origins(letters.data());
  if (fields != 2 || origins.size() != answer.descriptors.size()) {
    for (const int received : answer.descriptors) ::close(received);
    return fail(Errc::Refused, "cannot take over from a running pooler", path,
                answer.text.empty() ? "it does not answer" : answer.text, "stop it first, and start without -R");
  }
  for (std::size_t i = 0; i < origins.size(); ++i) {
    const auto origin = origins[i] == kManagerLetter ? ListenSocket::Origin::ServiceManager : ListenSocket::Origin::Own;
    auto socket = received_listen_socket(answer.descriptors[i], origin);
    if (socket) {
      if (auto file = socket->file(); !file.empty()) takeover.files.push_back(std::move(file));
      takeover.sockets.push_back(std::move(*socket));
    } else {
      ::close(answer.descriptors[i]);
    }
  }
  return takeover;
}

Result<void> Takeover::finish() {
  if (!say(fd_, "TAKEN") || receive(fd_).text != "DRAINING") {
    return fail(Errc::Unavailable, "the process that this one replaces has not confirmed", fmt::format("pid {}", pid),
                {}, "it has ended, or hangs: look at it");
  }
  return {};
}

Result<void> HandoverServer::listen(const std::string& path) {
  PGV_TRY(name, name_of(path));
  const bool abstract = path.front() == '@';
  listener_ = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (!abstract) unlink(path.c_str());
  const mode_t before = umask(0177);
  const bool bound = bind(listener_, reinterpret_cast<const sockaddr*>(&name.address), name.size) == 0;
  const int error = errno;
  umask(before);
  if (!bound || ::listen(listener_, 4) != 0) {
    if (listener_ >= 0) ::close(std::exchange(listener_, -1));
    return fail(Errc::Failed, "cannot listen for a process that replaces this one", path,
                errno_text(bound ? errno : error));
  }
  if (!abstract) path_ = path;
  listener_watch_ = loop_.watch(listener_, netio::kReadable, [this](std::uint32_t) { accept_one(); });
  return {};
}

void HandoverServer::close() {
  drop_peer();
  if (listener_watch_) loop_.unwatch(*std::exchange(listener_watch_, std::nullopt));
  if (listener_ < 0) return;
  ::close(std::exchange(listener_, -1));
  if (!path_.empty()) unlink(path_.c_str());
}

void HandoverServer::accept_one() {
  const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  if (!of_our_user(fd) || peer_ >= 0 || !hooks_.permitted()) {
    say(fd, peer_ >= 0 ? "another process is taking over already" : "it is shutting down or suspended");
    ::close(fd);
    return;
  }
  peer_ = fd;
  peer_watch_ = loop_.watch(fd, netio::kReadable, [this](std::uint32_t) { on_message(); });
  timer_ = loop_.call_at(loop_.now() + kTakenWithin, [this] {
    timer_.reset();
    log_.put(Level::Warning, "a new process asked for the listening sockets and did not take them; going on");
    drop_peer();
  });
}

void HandoverServer::drop_peer() {
  if (timer_) loop_.cancel(*std::exchange(timer_, std::nullopt));
  if (peer_watch_) loop_.unwatch(*std::exchange(peer_watch_, std::nullopt));
  if (peer_ >= 0) ::close(std::exchange(peer_, -1));
}

void HandoverServer::on_message() {
  const Received received = receive(peer_);
  for (const int fd : received.descriptors) ::close(fd);
  if (received.text == "TAKE 1") return send_sockets();
  if (received.text != "TAKEN" || !hooks_.permitted()) {
    log_.put(Level::Warning, "a new process asked for the listening sockets and went away; going on");
    return drop_peer();
  }
  // Our name has to be gone before the answer: the new process listens under it next.
  const int peer = dup(peer_);
  close();
  hooks_.taken();
  say(peer, "DRAINING");
  ::close(peer);
}

void HandoverServer::send_sockets() {
  const auto& sockets = hooks_.sockets();
  std::string text = fmt::format("SOCKETS 1 {} ", getpid());
  std::vector<int> descriptors;
  for (const auto& socket : sockets) {
    if (descriptors.size() == kSocketsMax) break;
    descriptors.push_back(socket.fd());
    text += socket.origin() == ListenSocket::Origin::ServiceManager ? kManagerLetter : kOwnLetter;
  }
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kSocketsMax * sizeof(int))> control{};
  iovec piece{text.data(), text.size()};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
  cmsghdr* part = CMSG_FIRSTHDR(&message);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
  std::memcpy(CMSG_DATA(part), descriptors.data(), descriptors.size() * sizeof(int));
  if (sendmsg(peer_, &message, MSG_NOSIGNAL) < 0) drop_peer();
}

}  // namespace pgvigil::pool
