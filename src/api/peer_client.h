// Calls to the REST APIs of other members, pgvigil's or Patroni's. One connection per request; every call ends by its
// deadline, also when a name server hangs.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "agent/peers.h"
#include "api/resolver.h"
#include "api/tls.h"
#include "base/log.h"
#include "config/agent_config.h"

namespace pgvigil::api {

struct HttpCall {
  std::string method = "GET";
  std::string url;
  std::string body;
  TimePoint deadline;
};

struct HttpReply {
  int status = 0;
  std::string body;
};

class PeerClient final : public agent::Peers {
 public:
  static constexpr std::size_t kReplyMax = std::size_t{1024} * 1024;

  PeerClient(Clock& clock, Log log);

  // Credentials: ctl's, else restapi's. Error: a certificate or key cannot be used; the old settings stay in force.
  Result<void> configure(const config::CtlConfig& ctl, const config::RestApiConfig& restapi);

  // Errors: Unavailable (no connection, broken reply), Timeout, Unauthorized (TLS), InvalidConfig (not a URL).
  Task<Result<HttpReply>> request(HttpCall call);

  Task<Result<agent::PeerReport>> ask(MemberName name, std::string api_url, TimePoint deadline) override;
  Task<Result<bool>> post_failsafe(std::string api_url, std::string body, TimePoint deadline) override;

 private:
  struct Exchange;
  Task<Result<void>> connect(std::shared_ptr<Exchange> exchange);
  Task<Result<HttpReply>> converse(std::shared_ptr<Exchange> exchange);

  Clock& clock_;
  Log log_;
  Resolver resolver_;
  TlsContext tls_;
  Secret authorization_;  // empty: none
};

// Reads GET /patroni. Error Unavailable: not a status document, or PostgreSQL did not answer there.
Result<agent::PeerReport> parse_peer_report(const MemberName& name, const std::string& body);

}  // namespace pgvigil::api
