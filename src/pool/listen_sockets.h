// The sockets that clients connect to: opened here before any thread runs, passed by a service manager, or taken over
// from the process that this one replaces.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "pool/address.h"
#include "pool/log.h"
#include "poolcfg/settings.h"

namespace pgvigil::pool {

class ListenSocket {
 public:
  enum class Origin : std::uint8_t { Own, ServiceManager };

  ListenSocket(int fd, Address address, Origin origin) : fd_(fd), address_(std::move(address)), origin_(origin) {}
  ListenSocket(ListenSocket&& other) noexcept;
  ListenSocket& operator=(ListenSocket&& other) noexcept;
  ~ListenSocket();

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] const Address& address() const { return address_; }
  [[nodiscard]] bool unix_socket() const { return address_.unix_socket(); }
  // The file of a Unix socket that is ours to remove; empty: none, or the service manager's.
  [[nodiscard]] std::string file() const;
  [[nodiscard]] int port() const;          // of a Unix socket: the number in its name
  [[nodiscard]] std::string text() const;  // "127.0.0.1:6432", "unix:/tmp/.s.PGSQL.6432"
  [[nodiscard]] Origin origin() const { return origin_; }

 private:
  int fd_;
  Address address_;
  Origin origin_;
};

// Opens what listen_addr and unix_socket_dir name. An address that cannot be used is a warning, unless none can.
// `taken_over`: sockets of another process; those that the settings want are taken out of it and used.
Result<std::vector<ListenSocket>> open_listen_sockets(const poolcfg::Settings& settings, PoolLog& log,
                                                      std::vector<ListenSocket>& taken_over);

// Those that systemd passed (sd_listen_fds(3)); empty: none. Call once, before the process forks.
std::vector<ListenSocket> passed_listen_sockets(PoolLog& log);

// One from a descriptor number, for those that arrive from elsewhere.
Result<ListenSocket> received_listen_socket(int fd, ListenSocket::Origin origin);

// Refuses when a pooler or a PostgreSQL server listens on our Unix socket, or holds its .lock file.
Result<void> check_unix_socket_free(const poolcfg::Settings& settings);

}  // namespace pgvigil::pool
