#include "pool/listen_sockets.h"

#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "pool/socket_options.h"

namespace pgvigil::pool {
namespace {

constexpr int kFirstPassedFd = 3;  // SD_LISTEN_FDS_START
constexpr int kPassedFdsMax = 64;

std::string path_of(const Address& address) {
  const auto& name = reinterpret_cast<const sockaddr_un&>(address.storage);
  if (address.size <= offsetof(sockaddr_un, sun_path)) return "";
  if (name.sun_path[0] == '\0') {
    return "@" + std::string(name.sun_path + 1, address.size - offsetof(sockaddr_un, sun_path) - 1);
  }
  return {name.sun_path, strnlen(name.sun_path, address.size - offsetof(sockaddr_un, sun_path))};
}

const sockaddr* raw(const Address& address) { return reinterpret_cast<const sockaddr*>(&address.storage); }

bool set(int fd, int level, int option, int value) { return setsockopt(fd, level, option, &value, sizeof value) == 0; }

// A socket that is closed unless it is given on.
class Opening {
 public:
  explicit Opening(int family) : fd_(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {}
  Opening(const Opening&) = delete;
  Opening& operator=(const Opening&) = delete;
  ~Opening() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int fd() const { return fd_; }
  int give() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

Result<ListenSocket> listen_tcp(const Address& address, const poolcfg::Settings& settings, PoolLog& log) {
  const auto refused = [&](const char* what, const char* remedy = "") {
    return fail(Errc::Failed, what, address.text(), errno_text(errno), remedy);
  };
  Opening opening(address.storage.ss_family);
  const int fd = opening.fd();
  if (fd < 0) return refused("cannot make a socket for");
  set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  // "*" listens on both versions with one socket each.
  if (address.storage.ss_family == AF_INET6) set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  if (settings.so_reuseport != 0 && !set(fd, SOL_SOCKET, SO_REUSEPORT, 1)) return refused("so_reuseport=1 fails on");
  if (const char* option = tune_tcp(fd, settings); option != nullptr) {
    log.put(Level::Warning, "{} is not supported on {}: {}", option, address.text(), errno_text(errno));
  }
  if (bind(fd, raw(address), address.size) != 0) {
    return refused("cannot listen on", errno == EADDRINUSE      ? "stop what uses the port, or set listen_port"
                                       : errno == EADDRNOTAVAIL ? "listen_addr has to name an address of this machine"
                                                                : "");
  }
  if (settings.tcp_defer_accept != 0) defer_accept(fd, true);
  if (::listen(fd, settings.listen_backlog) != 0) return refused("cannot listen on");
  return ListenSocket(opening.give(), address, ListenSocket::Origin::Own);
}

// The addresses behind one word of listen_addr.
Result<std::vector<Address>> addresses_of(const std::string& word, int port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const std::string service = std::to_string(port);
  const int status = getaddrinfo(word == "*" ? nullptr : word.c_str(), service.c_str(), &hints, &found);
  if (status != 0) {
    return fail(Errc::NotFound, "cannot resolve listen_addr", word, gai_strerror(status),
                "write an address of this machine, a name of it, or *");
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, freeaddrinfo);
  std::vector<Address> all;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    Address address;
    std::memcpy(&address.storage, one->ai_addr, one->ai_addrlen);
    address.size = one->ai_addrlen;
    all.push_back(std::move(address));
  }
  return all;
}

std::vector<std::string> words(const std::string& list) {
  std::vector<std::string> all;
  std::string word;
  for (const char c : list + ",") {
    if (c == ',') {
      if (!word.empty()) all.push_back(std::exchange(word, {}));
    } else if (c != ' ' && c != '\t') {
      word += c;
    }
  }
  return all;
}

// The socket of that address, taken out of the list.
std::optional<ListenSocket> take(std::vector<ListenSocket>& taken_over, const Address& address) {
  for (auto each = taken_over.begin(); each != taken_over.end(); ++each) {
    const Address& other = each->address();
    const bool same = address.unix_socket() ? path_of(other) == path_of(address) && other.unix_socket()
                                            : other.text() == address.text();
    if (!same) continue;
    ListenSocket found = std::move(*each);
    taken_over.erase(each);
    return found;
  }
  return std::nullopt;
}

Result<void> open_tcp(std::vector<ListenSocket>& sockets, std::vector<ListenSocket>& taken_over,
                      const poolcfg::Settings& settings, PoolLog& log) {
  std::string last;
  bool any = false;
  for (const auto& word : words(settings.listen_addr)) {
    auto addresses = addresses_of(word, settings.listen_port);
    if (!addresses) {
      last = addresses.error().message();
      log.put(Level::Warning, "{}", last);
      continue;
    }
    for (const auto& address : *addresses) {
      if (auto taken = take(taken_over, address); taken) {
        sockets.push_back(std::move(*taken));
        any = true;
        continue;
      }
      auto opened = listen_tcp(address, settings, log);
      if (opened) {
        sockets.push_back(std::move(*opened));
        any = true;
        continue;
      }
      last = opened.error().message();
      // A machine without IPv6 is no news.
      const bool no_such_family = address.storage.ss_family == AF_INET6 && word == "*";
      log.put(no_such_family ? Level::Debug : Level::Warning, "{}", last);
    }
  }
  if (!any && !words(settings.listen_addr).empty()) {
    return fail(Errc::Failed, "no address of listen_addr can be used", settings.listen_addr, last);
  }
  return {};
}

Result<void> own_socket_file(const std::string& path, const poolcfg::Settings& settings) {
  if (!settings.unix_socket_group.empty()) {
    char* end = nullptr;
    const unsigned long number = std::strtoul(settings.unix_socket_group.c_str(), &end, 10);
    const group* named = getgrnam(settings.unix_socket_group.c_str());
    if (named == nullptr && (end == nullptr || *end != '\0')) {
      return fail(Errc::InvalidConfig, "unix_socket_group names no group", settings.unix_socket_group);
    }
    const gid_t id = named != nullptr ? named->gr_gid : static_cast<gid_t>(number);
    if (chown(path.c_str(), static_cast<uid_t>(-1), id) != 0) {
      return fail(Errc::Failed, "cannot give the Unix socket to its group", path, errno_text(errno),
                  "the pooler's user has to be a member of unix_socket_group");
    }
  }
  if (chmod(path.c_str(), static_cast<mode_t>(settings.unix_socket_mode)) != 0) {
    return fail(Errc::Failed, "cannot set the mode of the Unix socket", path, errno_text(errno));
  }
  return {};
}

Result<ListenSocket> listen_unix(const poolcfg::Settings& settings) {
  const Address address = unix_address(settings.unix_socket_dir, settings.listen_port);
  const std::string wanted = fmt::format("{}/.s.PGSQL.{}", settings.unix_socket_dir, settings.listen_port);
  const std::string path = path_of(address);
  if (path != wanted) {
    return fail(Errc::InvalidConfig, "the path of the Unix socket is too long", wanted, {},
                "set unix_socket_dir to a shorter directory, or to nothing");
  }
  const bool abstract = path.front() == '@';
  Opening opening(AF_UNIX);
  if (opening.fd() < 0) return fail(Errc::Failed, "cannot make a Unix socket", path, errno_text(errno));
  if (!abstract) unlink(path.c_str());  // nobody listens there: check_unix_socket_free()
  // Nobody may connect before group and mode are set.
  const mode_t before = umask(0777);
  const bool bound = bind(opening.fd(), raw(address), address.size) == 0;
  const int error = errno;
  umask(before);
  if (!bound) {
    return fail(Errc::Failed, "cannot listen on the Unix socket", path, errno_text(error),
                "unix_socket_dir has to exist and be writable for the pooler's user");
  }
  if (!abstract) PGV_TRY_VOID(own_socket_file(path, settings));
  if (::listen(opening.fd(), settings.listen_backlog) != 0) {
    return fail(Errc::Failed, "cannot listen on the Unix socket", path, errno_text(errno));
  }
  return ListenSocket(opening.give(), address, ListenSocket::Origin::Own);
}

}  // namespace

ListenSocket::ListenSocket(ListenSocket&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), address_(std::move(other.address_)), origin_(other.origin_) {}

ListenSocket& ListenSocket::operator=(ListenSocket&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(address_, other.address_);
  std::swap(origin_, other.origin_);
  return *this;
}

ListenSocket::~ListenSocket() {
  if (fd_ >= 0) ::close(fd_);
}

std::string ListenSocket::file() const {
  if (!unix_socket() || origin_ == Origin::ServiceManager) return "";
  std::string path = path_of(address_);
  return path.empty() || path.front() == '@' ? "" : path;
}

int ListenSocket::port() const {
  if (!unix_socket()) return address_.port();
  const std::string text = address_.text();
  return std::atoi(text.c_str() + text.rfind(':') + 1);
}

std::string ListenSocket::text() const { return unix_socket() ? "unix:" + path_of(address_) : address_.text(); }

Result<std::vector<ListenSocket>> open_listen_sockets(const poolcfg::Settings& settings, PoolLog& log,
                                                      std::vector<ListenSocket>& taken_over) {
  std::vector<ListenSocket> sockets;
  PGV_TRY_VOID(open_tcp(sockets, taken_over, settings, log));
  const Address local = unix_address(settings.unix_socket_dir, settings.listen_port);
  if (settings.unix_socket_dir.empty()) {
    // none
  } else if (auto taken = take(taken_over, local); taken) {
    sockets.push_back(std::move(*taken));
  } else {
    PGV_TRY(opened, listen_unix(settings));
    sockets.push_back(std::move(opened));
  }
  if (sockets.empty()) {
    return fail(Errc::InvalidConfig, "there is nothing to listen on", {}, "listen_addr and unix_socket_dir are empty",
                "set one of them");
  }
  return sockets;
}

Result<ListenSocket> received_listen_socket(int fd, ListenSocket::Origin origin) {
  int listening = 0, type = 0;
  socklen_t size = sizeof listening;
  const bool usable = getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening != 0 &&
                      getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
  if (!usable) return fail(Errc::Refused, "a passed descriptor is not a listening stream socket", std::to_string(fd));
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  return ListenSocket(fd, local_of(fd), origin);
}

std::vector<ListenSocket> passed_listen_sockets(PoolLog& log) {
  std::vector<ListenSocket> sockets;
  const char* pid = std::getenv("LISTEN_PID");
  const char* count = std::getenv("LISTEN_FDS");
  const bool ours = pid != nullptr && count != nullptr && std::atol(pid) == getpid();
  const int descriptors = ours ? std::min(std::atoi(count), kPassedFdsMax) : 0;
  for (int fd = kFirstPassedFd; fd < kFirstPassedFd + descriptors; ++fd) {
    auto socket = received_listen_socket(fd, ListenSocket::Origin::ServiceManager);
    if (socket) {
      sockets.push_back(std::move(*socket));
    } else {
      log.put(Level::Warning, "socket activation: {}", socket.error().message());
    }
  }
  for (const char* name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) unsetenv(name);
  return sockets;
}

Result<void> check_unix_socket_free(const poolcfg::Settings& settings) {
  if (settings.unix_socket_dir.empty()) return {};
  const Address address = unix_address(settings.unix_socket_dir, settings.listen_port);
  const std::string path = path_of(address);
  const bool abstract = path.front() == '@';
  struct stat info {};
  if (!abstract && lstat((path + ".lock").c_str(), &info) == 0) {
    return fail(Errc::Refused, "unix port is in use", path + ".lock", "the lock file of a PostgreSQL server",
                "set another listen_port or unix_socket_dir; remove the file if no server runs there");
  }
  const Opening probe(AF_UNIX);
  if (probe.fd() < 0) return fail(Errc::Failed, "cannot make a Unix socket", {}, errno_text(errno));
  // EAGAIN: somebody listens there and is too busy to accept.
  if (connect(probe.fd(), raw(address), address.size) == 0 || errno == EAGAIN || errno == EINPROGRESS) {
    return fail(Errc::Refused, "unix socket is in use, cannot continue", path, {},
                "another process listens there: stop it, take over from it with -R, or set another unix_socket_dir or "
                "listen_port");
  }
  return {};
}

}  // namespace pgvigil::pool
