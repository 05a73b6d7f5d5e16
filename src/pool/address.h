// Where a peer is: an internet address or a Unix socket.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "poolcfg/hba.h"

namespace pgvigil::pool {

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
  std::string host;  // as configured, for certificates and messages

  [[nodiscard]] bool unix_socket() const { return storage.ss_family == AF_UNIX; }
  [[nodiscard]] std::string ip() const;    // "unix" for a Unix socket
  [[nodiscard]] int port() const;          // 0 for a Unix socket
  [[nodiscard]] std::string text() const;  // "10.0.0.1:5432", "[::1]:5432", "unix:5432"
};

std::optional<Address> literal_address(const std::string& host, int port);  // inet_pton; nothing: a name
Address unix_address(const std::string& directory, int port);               // "@..." : abstract
Address peer_of(int fd);
Address local_of(int fd);
poolcfg::PeerAddress hba_address(const Address& address);
std::string ip_text(const poolcfg::PeerAddress& address);  // "unix" for a Unix socket

struct PeerCredentials {
  int pid = 0;
  unsigned uid = 0;
};
std::optional<PeerCredentials> unix_credentials(int fd);

}  // namespace pgvigil::pool
