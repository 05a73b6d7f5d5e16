#include "pool/address.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>

namespace pgvigil::pool {
namespace {

constexpr std::size_t kV4Offset = 12;  // of a version 4 address among 16 bytes

const sockaddr_in& v4(const Address& address) { return reinterpret_cast<const sockaddr_in&>(address.storage); }
const sockaddr_in6& v6(const Address& address) { return reinterpret_cast<const sockaddr_in6&>(address.storage); }

// The port in the name of a Unix socket, which is how PostgreSQL and its tools speak of one.
std::string socket_port(const Address& address) {
  const auto& name = reinterpret_cast<const sockaddr_un&>(address.storage);
  if (address.size <= offsetof(sockaddr_un, sun_path)) return "0";
  const std::string_view path(name.sun_path, address.size - offsetof(sockaddr_un, sun_path));
  const std::string_view whole = path.substr(0, path.find('\0', 1));
  const auto dot = whole.rfind('.');
  const std::string_view digits = dot == std::string_view::npos ? "" : whole.substr(dot + 1);
  const bool number = !digits.empty() && digits.find_first_not_of("0123456789") == std::string_view::npos;
  return number ? std::string(digits) : "0";
}

Address name_of(int fd, int (*call)(int, sockaddr*, socklen_t*)) {
  Address address;
  address.size = sizeof address.storage;
  if (call(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.size) != 0) address.size = 0;
  return address;
}

}  // namespace

std::string Address::ip() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  switch (storage.ss_family) {
    case AF_INET: inet_ntop(AF_INET, &v4(*this).sin_addr, text.data(), text.size()); break;
    case AF_INET6: inet_ntop(AF_INET6, &v6(*this).sin6_addr, text.data(), text.size()); break;
    default: return "unix";
  }
  return text.data();
}

int Address::port() const {
  switch (storage.ss_family) {
    case AF_INET: return ntohs(v4(*this).sin_port);
    case AF_INET6: return ntohs(v6(*this).sin6_port);
    default: return 0;
  }
}

std::string Address::text() const {
  switch (storage.ss_family) {
    case AF_INET: return fmt::format("{}:{}", ip(), port());
    case AF_INET6: return fmt::format("[{}]:{}", ip(), port());
    default: return "unix:" + socket_port(*this);
  }
}

std::optional<Address> literal_address(const std::string& host, int port) {
  Address address;
  address.host = host;
  auto& four = reinterpret_cast<sockaddr_in&>(address.storage);
  if (inet_pton(AF_INET, host.c_str(), &four.sin_addr) == 1) {
    four.sin_family = AF_INET;
    four.sin_port = htons(static_cast<std::uint16_t>(port));
    address.size = sizeof four;
    return address;
  }
  auto& six = reinterpret_cast<sockaddr_in6&>(address.storage);
  if (inet_pton(AF_INET6, host.c_str(), &six.sin6_addr) == 1) {
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(static_cast<std::uint16_t>(port));
    address.size = sizeof six;
    return address;
  }
  return std::nullopt;
}

Address unix_address(const std::string& directory, int port) {
  Address address;
  address.host = directory;
  auto& name = reinterpret_cast<sockaddr_un&>(address.storage);
  name.sun_family = AF_UNIX;
  const std::string path = fmt::format("{}/.s.PGSQL.{}", directory, port);
  // A path that does not fit gives an address that nobody can listen on or connect to: the whole call fails then.
  const std::size_t length = std::min(path.size(), sizeof name.sun_path - 1);
  std::memcpy(name.sun_path, path.data(), length);
  const bool abstract = name.sun_path[0] == '@';
  if (abstract) name.sun_path[0] = '\0';
  address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length + (abstract ? 0 : 1));
  return address;
}

Address peer_of(int fd) { return name_of(fd, getpeername); }

Address local_of(int fd) { return name_of(fd, getsockname); }

poolcfg::PeerAddress hba_address(const Address& address) {
  poolcfg::PeerAddress peer;
  switch (address.storage.ss_family) {
    case AF_INET:
      peer.kind = poolcfg::PeerAddress::Kind::V4;
      peer.bytes[10] = peer.bytes[11] = 0xff;
      std::memcpy(peer.bytes.data() + kV4Offset, &v4(address).sin_addr, 4);
      break;
    case AF_INET6:
      // A dual-stack socket, which a service manager may have passed, shows version 4 peers as mapped addresses.
      peer.kind = IN6_IS_ADDR_V4MAPPED(&v6(address).sin6_addr) ? poolcfg::PeerAddress::Kind::V4
                                                               : poolcfg::PeerAddress::Kind::V6;
      std::memcpy(peer.bytes.data(), &v6(address).sin6_addr, peer.bytes.size());
      break;
    default: break;
  }
  return peer;
}

std::string ip_text(const poolcfg::PeerAddress& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  switch (address.kind) {
    case poolcfg::PeerAddress::Kind::V4:
      inet_ntop(AF_INET, address.bytes.data() + kV4Offset, text.data(), text.size());
      return text.data();
    case poolcfg::PeerAddress::Kind::V6:
      inet_ntop(AF_INET6, address.bytes.data(), text.data(), text.size());
      return text.data();
    case poolcfg::PeerAddress::Kind::Unix: break;
  }
  return "unix";
}

std::optional<PeerCredentials> unix_credentials(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.uid == static_cast<uid_t>(-1)) {
    return std::nullopt;
  }
  return PeerCredentials{peer.pid, peer.uid};
}

}  // namespace pgvigil::pool
