#include <algorithm>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>

#include "api/json.h"
#include "api/peer_client.h"

namespace pgvigil::api {
namespace {

std::string text_field(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Lsn position_field(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_unsigned()) return {};
  return Lsn(found->get<std::uint64_t>());
}

const Json* object_field(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_object() ? &*found : nullptr;
}

bool switch_field(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && parse_switch(*found);
}

int priority_field(const Json& tags, const char* key) {
  const auto found = tags.find(key);
  if (found == tags.end() || !found->is_number_integer()) return 1;
  const auto value = found->get<std::int64_t>();
  return static_cast<int>(
      std::clamp<std::int64_t>(value, std::numeric_limits<int>::min(), std::numeric_limits<int>::max()));
}

Tags parse_tags(const Json& json) {
  Tags tags;
  tags.failover_priority = priority_field(json, "failover_priority");
  tags.sync_priority = priority_field(json, "sync_priority");
  // Where nofailover or nosync is given at all, the priority does not count.
  tags.nofailover = json.contains("nofailover") ? switch_field(json, "nofailover") : tags.failover_priority <= 0;
  tags.nosync = json.contains("nosync") ? switch_field(json, "nosync") : tags.sync_priority <= 0;
  tags.noloadbalance = switch_field(json, "noloadbalance");
  tags.clonefrom = switch_field(json, "clonefrom");
  tags.nostream = switch_field(json, "nostream");
  tags.replicatefrom = text_field(json, "replicatefrom");
  return tags;
}

}  // namespace

Result<agent::PeerReport> parse_peer_report(const MemberName& name, const std::string& body) {
  const auto document = parse_json_object(body);
  if (!document) return fail(Errc::Unavailable, "cannot read the status of", name.text(), "not a JSON object");
  const Json* xlog = object_field(*document, "wal");
  if (xlog == nullptr) xlog = object_field(*document, "xlog");
  const std::string state = text_field(*document, "state");
  if (xlog == nullptr) {
    return fail(Errc::Unavailable, "cannot use the status of", name.text(),
                "PostgreSQL does not answer there (state \"" + state + "\")");
  }
  agent::PeerReport report;
  report.name = name;
  report.state = state;
  report.role = parse_role(text_field(*document, "role")).value_or(Role::Uninitialized);
  const bool has_location = xlog->contains("location");
  report.running_as_primary = has_location || report.role == Role::Leader;
  report.wal_end =
      has_location ? position_field(*xlog, "location")
                   : std::max(position_field(*xlog, "received_location"), position_field(*xlog, "replayed_location"));
  if (const auto found = document->find("timeline"); found != document->end() && found->is_number_unsigned()) {
    const auto timeline = found->get<std::uint64_t>();
    if (timeline <= std::numeric_limits<std::uint32_t>::max())
      report.timeline = Timeline(static_cast<std::uint32_t>(timeline));
  }
  if (const Json* tags = object_field(*document, "tags")) report.tags = parse_tags(*tags);
  report.watchdog_failed = switch_field(*document, "watchdog_failed");
  report.system_id = SystemId(text_field(*document, "database_system_identifier"));
  return report;
}

}  // namespace pgvigil::api
