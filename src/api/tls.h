// TLS contexts made from files. A context is never changed once it is in use: a reload makes a new one, and connections
// keep the one that they began with.
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <memory>

#include "base/error.h"
#include "config/agent_config.h"

namespace pgvigil::api {

using TlsContext = std::shared_ptr<boost::asio::ssl::context>;

// For the REST server; config.certfile is not empty. TLS 1.2 and newer.
Result<TlsContext> make_server_context(const config::RestApiConfig& config);

// For calls to peers. The server's certificate is verified (the chain, not the name) only when ctl.certfile is set,
// against ctl.cacert, else restapi.cafile, else the system's certificates.
Result<TlsContext> make_client_context(const config::CtlConfig& ctl, const config::RestApiConfig& restapi);

}  // namespace pgvigil::api
