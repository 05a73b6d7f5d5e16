#include "pool/socket_options.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace pgvigil::pool {
namespace {

bool set(int fd, int level, int option, int value) { return setsockopt(fd, level, option, &value, sizeof value) == 0; }

}  // namespace

const char* tune_tcp(int fd, const poolcfg::Settings& settings) {
  const char* refused = nullptr;
  const auto apply = [&](const char* name, int level, int option, int value) {
    if (!set(fd, level, option, value)) refused = name;
  };
  apply("TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, 1);
  if (settings.tcp_socket_buffer > 0) {
    apply("tcp_socket_buffer", SOL_SOCKET, SO_SNDBUF, settings.tcp_socket_buffer);
    apply("tcp_socket_buffer", SOL_SOCKET, SO_RCVBUF, settings.tcp_socket_buffer);
  }
  apply("tcp_user_timeout", IPPROTO_TCP, TCP_USER_TIMEOUT, settings.tcp_user_timeout);
  apply("tcp_keepalive", SOL_SOCKET, SO_KEEPALIVE, settings.tcp_keepalive != 0 ? 1 : 0);
  if (settings.tcp_keepalive == 0) return refused;
  if (settings.tcp_keepidle > 0) apply("tcp_keepidle", IPPROTO_TCP, TCP_KEEPIDLE, settings.tcp_keepidle);
  if (settings.tcp_keepintvl > 0) apply("tcp_keepintvl", IPPROTO_TCP, TCP_KEEPINTVL, settings.tcp_keepintvl);
  if (settings.tcp_keepcnt > 0) apply("tcp_keepcnt", IPPROTO_TCP, TCP_KEEPCNT, settings.tcp_keepcnt);
  return refused;
}

void defer_accept(int fd, bool on) { set(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, on ? 1 : 0); }

}  // namespace pgvigil::pool
