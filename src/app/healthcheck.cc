#include "app/healthcheck.h"

#include <fmt/format.h>

#include <cstdio>

#include "config/load.h"
#include "config/scalars.h"
#include "ctl/http_client.h"

namespace pgvigil::app {
namespace {

constexpr Duration kAnswerMax = std::chrono::seconds(5);

// Where the agent listens, as this machine reaches it.
std::string local_url(const config::RestApiConfig& api) {
  const std::string host = config::is_wildcard(api.listen.host) ? "127.0.0.1" : api.listen.host;
  return fmt::format("{}://{}", api.certfile.empty() ? "http" : "https", config::to_string({host, api.listen.port}));
}

}  // namespace

int run_healthcheck(const std::vector<std::string>& arguments) {
  if (arguments.empty() || arguments.size() > 2 || arguments[0].starts_with("-")) {
    std::fputs("usage: pgvigil healthcheck FILE [health|primary|replica|liveness|readiness|...]\n", stderr);
    return 2;
  }
  auto loaded = config::load_ctl_config(arguments[0], config::process_environment());
  if (!loaded) {
    fmt::print(stderr, "pgvigil: {}\n", loaded.error().message());
    return 1;
  }
  ctl::HttpClient http;
  if (const auto ready = http.configure(loaded->config.ctl, loaded->config.restapi); !ready) {
    fmt::print(stderr, "pgvigil: {}\n", ready.error().message());
    return 1;
  }
  const std::string check = arguments.size() > 1 ? arguments[1] : "health";
  const auto reply = http.request(local_url(loaded->config.restapi), "GET", "/" + check, {}, kAnswerMax);
  if (reply && reply->status == 200) return 0;
  fmt::print(stderr, "pgvigil: {}: {}\n", check,
             reply ? fmt::format("status {}", reply->status) : reply.error().message());
  return 1;
}

}  // namespace pgvigil::app
