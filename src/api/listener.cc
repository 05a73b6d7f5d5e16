#include "api/listener.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio/ip/v6_only.hpp>
#include <string>
#include <vector>

namespace pgvigil::api {
namespace {

using Tcp = asio::ip::tcp;
using boost::system::error_code;

// Asio opens sockets without FD_CLOEXEC; a callback script that outlives us would keep the port busy.
void close_on_exec(int descriptor) { fcntl(descriptor, F_SETFD, FD_CLOEXEC); }

error_code open_at(Tcp::acceptor& acceptor, const Tcp::endpoint& endpoint, int backlog) {
  error_code error;
  acceptor.open(endpoint.protocol(), error);
  if (error) return error;
  close_on_exec(acceptor.native_handle());
  acceptor.set_option(Tcp::acceptor::reuse_address(true), error);
  if (endpoint.protocol() == Tcp::v6()) {
    error_code ignored;
    acceptor.set_option(asio::ip::v6_only(!endpoint.address().is_unspecified()), ignored);
  }
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(backlog, error);
  if (error) {
    error_code ignored;
    acceptor.close(ignored);
  }
  return error;
}

}  // namespace

Result<Acceptor> open_acceptor(const asio::any_io_executor& executor, const config::HostPort& listen, int backlog) {
  const std::string where = fmt::format("{}:{}", listen.host.empty() ? "*" : listen.host, listen.port);
  const bool everywhere = listen.host.empty() || listen.host == "*";
  std::vector<Tcp::endpoint> endpoints;
  error_code error;
  if (everywhere) {
    endpoints.emplace_back(Tcp::v6(), listen.port);
    endpoints.emplace_back(Tcp::v4(), listen.port);
  } else {
    Tcp::resolver resolver(executor);
    for (const auto& entry :
         resolver.resolve(listen.host, std::to_string(listen.port), Tcp::resolver::passive, error)) {
      endpoints.push_back(entry.endpoint());
    }
    if (error) return fail(Errc::InvalidConfig, "cannot resolve restapi.listen", where, error.message());
  }
  auto acceptor = std::make_shared<Tcp::acceptor>(executor);
  for (const Tcp::endpoint& endpoint : endpoints) {
    error = open_at(*acceptor, endpoint, backlog);
    if (!error) return acceptor;
    // Only a missing address family is a reason to try the other one; a busy port has to be told.
    if (everywhere && error != asio::error::address_family_not_supported &&
        error != error_code(EADDRNOTAVAIL, boost::system::system_category())) {
      break;
    }
  }
  const bool busy = error == asio::error::address_in_use;
  return fail(busy ? Errc::Refused : Errc::InvalidConfig, "cannot listen for the REST API on", where, error.message(),
              "change restapi.listen or free the port");
}

void tune(Tcp::socket& socket) {
  const int descriptor = socket.native_handle();
  close_on_exec(descriptor);
  error_code ignored;
  socket.set_option(asio::socket_base::keep_alive(true), ignored);
  socket.set_option(Tcp::no_delay(true), ignored);
  constexpr int kIdleSeconds = 3, kIntervalSeconds = 2, kProbes = 3, kTotalMs = 10000;
  setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, &kIdleSeconds, sizeof(kIdleSeconds));
  setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, &kIntervalSeconds, sizeof(kIntervalSeconds));
  setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPCNT, &kProbes, sizeof(kProbes));
  setsockopt(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, &kTotalMs, sizeof(kTotalMs));
}

}  // namespace pgvigil::api
