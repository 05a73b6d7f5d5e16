#include <charconv>
#include <chrono>
#include <nlohmann/json.hpp>
#include <vector>

#include "api/units.h"
#include "api/unsafe.h"

namespace pgvigil::api {
namespace {

// X.Y since PostgreSQL 10, X.Y.Z before.
bool is_server_version(const std::string& text) {
  std::vector<int> parts;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    int part = -1;
    const auto [stop, failure] = std::from_chars(at, end, part);
    if (failure != std::errc() || part < 0 || stop == at) return false;
    parts.push_back(part);
    if (stop == end) break;
    if (*stop != '.' || parts.size() > 3) return false;
    at = stop + 1;
  }
  return parts.size() == 3 || (parts.size() == 2 && parts[0] >= 10);
}

}  // namespace

std::optional<RestartRequest> parse_restart(const Json& body, WallTime now, agent::CommandReply& refusal) {
  RestartRequest request;
  for (const auto& [key, value] : body.items()) {
    if (key == "schedule") {
      const auto schedule = parse_schedule(value, "restart", now, refusal);
      if (!schedule) return std::nullopt;
      request.schedule = schedule->at;
      request.schedule_text = schedule->text;
    } else if (key == "role") {
      const std::string role = text_of(value);
      if (role != "primary" && role != "standby_leader" && role != "replica") {
        refusal = {400, "PostgreSQL role should be either primary, standby_leader, or replica"};
        return std::nullopt;
      }
      request.role = parse_role(role);
    } else if (key == "postgres_version") {
      request.postgres_version = text_of(value);
      if (!is_server_version(request.postgres_version)) {
        refusal = {400, "Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: " + request.postgres_version};
        return std::nullopt;
      }
    } else if (key == "timeout") {
      const auto seconds = value.is_boolean() ? std::nullopt : parse_seconds(text_of(value));
      constexpr std::int64_t kLongest = 366LL * 24 * 3600;
      if (!seconds || *seconds <= 0 || *seconds > kLongest) {
        refusal = {400, "Timeout should be a positive number of seconds"};
        return std::nullopt;
      }
      request.timeout = std::chrono::seconds(*seconds);
    } else if (key == "restart_pending") {
      request.restart_pending = truthy(value);
    } else {
      refusal = {400, "Unknown filter for the scheduled restart: " + key};
      return std::nullopt;
    }
  }
  return request;
}

}  // namespace pgvigil::api
