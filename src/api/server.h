// The REST API's server. Speaks HTTP/1.0: one request per connection, closed after the reply.
//
// Slow, broken and hostile clients never delay the agent or other clients: every phase of a connection has a deadline,
// header, body and number of connections are bounded, and when there are too many connections the ones that have not
// sent their request yet make room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "agent/commands.h"
#include "api/documents.h"
#include "api/metrics.h"
#include "base/error.h"
#include "base/log.h"
#include "config/agent_config.h"

namespace pgvigil::api {

struct ServerLimits {
  std::size_t header_bytes = std::size_t{16} * 1024;
  std::size_t body_bytes = std::size_t{1024} * 1024;
  std::size_t connections = 256;
  Duration handshake = std::chrono::seconds(5);
  Duration request = std::chrono::seconds(10);  // from the accept (or the end of the handshake) to its last byte
  Duration reply = std::chrono::seconds(10);    // to write it
  Duration linger = std::chrono::seconds(1);    // for the client to close first
  // A connection without a request may be displaced when it is older than this.
  Duration displaceable_after = std::chrono::milliseconds(500);
};

class ApiServer {
 public:
  ApiServer(agent::Commands& commands, Log log, Versions versions, ServerLimits limits = {});
  // Before this, stop() has returned true, or the executor has stopped for good.
  ~ApiServer();
  ApiServer(const ApiServer&) = delete;
  ApiServer& operator=(const ApiServer&) = delete;

  // Binds and listens. Resolves a host name in restapi.listen synchronously: call it before coordination starts.
  Result<void> start(const config::RestApiConfig& config);
  // Takes over all settings; certificate files are read again. Error: the old settings stay in force, the server runs.
  // Connections that are open keep what they began with.
  Result<void> reload(const config::RestApiConfig& config);
  // Stops accepting, drops connections that have no request yet, lets the others finish. False: some have not ended by
  // the deadline; they are cut off, and the server has to live on until stop() is called again and returns true.
  Task<bool> stop(TimePoint deadline);

  [[nodiscard]] std::uint16_t port() const;  // the one that is listened on
  [[nodiscard]] const ServerCounters& counters() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pgvigil::api
