// Blocking HTTP(S) calls to the members' REST APIs, each with a time limit.
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/secret.h"
#include "base/time.h"
#include "config/agent_config.h"

namespace pgvigil::ctl {

struct HttpReply {
  int status = 0;
  std::string body;
};

class HttpClient {
 public:
  // Credentials and certificates: ctl's, else restapi's. Error: a file cannot be used.
  Result<void> configure(const config::CtlConfig& ctl, const config::RestApiConfig& restapi);
  // `api_url`: http(s)://host:port/anything; `path` replaces its path.
  Result<HttpReply> request(const std::string& api_url, const std::string& method, const std::string& path,
                            const std::string& body, Duration timeout);

 private:
  std::shared_ptr<boost::asio::ssl::context> tls_;
  Secret authorization_;
};

}  // namespace pgvigil::ctl
