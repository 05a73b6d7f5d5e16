// Listening sockets of the REST API.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <memory>

#include "base/clock.h"
#include "base/error.h"
#include "config/agent_config.h"

namespace pgvigil::api {

using Acceptor = std::shared_ptr<asio::ip::tcp::acceptor>;

// Host "*" or empty: all addresses of both families. Resolves synchronously.
Result<Acceptor> open_acceptor(const asio::any_io_executor& executor, const config::HostPort& listen, int backlog);

// For accepted sockets: found dead 10 s after the peer has vanished; not inherited by child processes.
void tune(asio::ip::tcp::socket& socket);

}  // namespace pgvigil::api
