#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/timestamp.h"
#include "dcs/member_json.h"

namespace pgvigil::dcs {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kValueMax = std::size_t{1024} * 1024;

Json parse(const std::string& text) {
  if (text.size() > kValueMax) return {};
  auto json = Json::parse(text, nullptr, false);
  return json.is_discarded() ? Json() : json;
}

const Json* find(const Json& json, const char* key) {
  if (!json.is_object()) return nullptr;
  const auto found = json.find(key);
  return found == json.end() ? nullptr : &*found;
}

std::string text_of(const Json& json, const char* key) {
  const auto* value = find(json, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}

std::optional<std::int64_t> integer(const Json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    return number <= INT64_MAX ? std::optional<std::int64_t>(static_cast<std::int64_t>(number)) : std::nullopt;
  }
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc() && end == text.data() + text.size() && !text.empty()) return number;
  }
  return std::nullopt;
}

Lsn lsn_of(const Json& value) {
  const auto number = integer(value);
  return number && *number > 0 ? Lsn(static_cast<std::uint64_t>(*number)) : Lsn();
}

Lsn lsn_of(const Json& json, const char* key) {
  const auto* value = find(json, key);
  return value == nullptr ? Lsn() : lsn_of(*value);
}

std::uint64_t count_of(const Json& json, const char* key) {
  const auto* value = find(json, key);
  const auto number = value == nullptr ? std::nullopt : integer(*value);
  return number && *number > 0 ? static_cast<std::uint64_t>(*number) : 0;
}

// As a number or as text: revisions are larger than what some readers of JSON keep exact.
Term term_of(const Json& json, const char* key) {
  const auto* value = find(json, key);
  return Term(Revision(value == nullptr ? 0 : integer(*value).value_or(0)));
}

Duration seconds_of(const Json& json, const char* key) {
  constexpr double kMax = 1e6;
  const auto* value = find(json, key);
  if (value == nullptr || !value->is_number()) return Duration(0);
  const double seconds = std::clamp(value->get<double>(), 0.0, kMax);
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

Timeline timeline_of(const Json& value) {
  const auto number = integer(value);
  return number && *number > 0 && *number <= UINT32_MAX ? Timeline(static_cast<std::uint32_t>(*number)) : Timeline();
}

bool truth(const Json& json, const char* key) {
  const auto* value = find(json, key);
  if (value == nullptr) return false;
  if (value->is_boolean()) return value->get<bool>();
  if (value->is_number()) return value->get<double>() != 0;
  if (!value->is_string()) return false;
  const auto& text = value->get_ref<const std::string&>();
  return text == "true" || text == "True" || text == "on" || text == "yes" || text == "1";
}

Tags tags_of(const Json& json) {
  Tags tags;
  tags.nofailover = truth(json, "nofailover");
  if (const auto* priority = find(json, "failover_priority")) {
    if (const auto number = integer(*priority)) {
      tags.failover_priority = static_cast<int>(std::clamp<std::int64_t>(*number, -1000000, 1000000));
      if (find(json, "nofailover") == nullptr) tags.nofailover = tags.failover_priority <= 0;
    }
  }
  tags.nosync = truth(json, "nosync");
  tags.noloadbalance = truth(json, "noloadbalance");
  tags.clonefrom = truth(json, "clonefrom");
  tags.nostream = truth(json, "nostream");
  tags.replicatefrom = text_of(json, "replicatefrom");
  if (const auto* priority = find(json, "sync_priority")) {
    if (const auto number = integer(*priority)) {
      tags.sync_priority = static_cast<int>(std::clamp<std::int64_t>(*number, -1000000, 1000000));
      if (tags.sync_priority <= 0) tags.nosync = true;
    }
  }
  return tags;
}

// Host and port of "postgres://host:port/database"; an IPv6 address stands in brackets.
void read_conn_url(Member& member) {
  const auto scheme = member.conn_url.find("://");
  if (scheme == std::string::npos) return;
  std::string rest = member.conn_url.substr(scheme + 3);
  rest = rest.substr(0, rest.find_first_of("/?"));
  if (const auto at = rest.rfind('@'); at != std::string::npos) rest = rest.substr(at + 1);
  std::string port;
  if (!rest.empty() && rest.front() == '[') {
    const auto end = rest.find(']');
    if (end == std::string::npos) return;
    member.host = rest.substr(1, end - 1);
    if (end + 1 < rest.size() && rest[end + 1] == ':') port = rest.substr(end + 2);
  } else {
    const auto colon = rest.rfind(':');
    member.host = rest.substr(0, colon);
    if (colon != std::string::npos) port = rest.substr(colon + 1);
  }
  unsigned number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (error == std::errc() && end == port.data() + port.size() && number > 0 && number < 65536) {
    member.port = static_cast<std::uint16_t>(number);
  }
}

void read_pending_restart(const Json& json, Member& member) {
  member.pending_restart_flag = truth(json, "pending_restart");
  const auto* reasons = find(json, "pending_restart_reason");
  if (reasons == nullptr || !reasons->is_object()) return;
  for (const auto& [name, change] : reasons->items()) {
    member.pending_restart[name] = {text_of(change, "old_value"), text_of(change, "new_value")};
  }
}

void read_scheduled_restart(const Json& json, Member& member) {
  const auto* scheduled = find(json, "scheduled_restart");
  if (scheduled == nullptr || !scheduled->is_object()) return;
  RestartRequest request;
  request.schedule_text = text_of(*scheduled, "schedule");
  request.schedule = parse_instant(request.schedule_text);
  request.postmaster_start_time = text_of(*scheduled, "postmaster_start_time");
  request.role = parse_role(text_of(*scheduled, "role"));
  request.postgres_version = text_of(*scheduled, "postgres_version");
  request.restart_pending = find(*scheduled, "restart_pending") != nullptr;
  if (const auto* timeout = find(*scheduled, "timeout")) {
    if (const auto seconds = integer(*timeout)) request.timeout = std::chrono::seconds(*seconds);
  }
  member.scheduled_restart = std::move(request);
}

}  // namespace

Tags parse_tags(const std::string& json) { return tags_of(parse(json)); }

Member parse_member(const MemberName& name, const std::string& value) {
  Member member;
  member.name = name;
  member.raw = value;
  const Json json = parse(value);
  if (!json.is_object()) return member;
  member.conn_url = text_of(json, "conn_url");
  member.api_url = text_of(json, "api_url");
  member.proxy_url = text_of(json, "proxy_url");
  read_conn_url(member);
  member.state = parse_instance_state(text_of(json, "state")).value_or(InstanceState::Stopped);
  member.role = parse_role(text_of(json, "role")).value_or(Role::Replica);
  member.version = text_of(json, "version");
  if (const auto* tags = find(json, "tags"); tags != nullptr && tags->is_object()) {
    member.tags = tags_of(*tags);
    if (!tags->empty()) member.raw_tags = tags->dump(-1, ' ', true, Json::error_handler_t::replace);
  }
  read_pending_restart(json, member);
  if (find(json, "checkpoint_after_promote") != nullptr) {
    member.checkpoint_after_promote = truth(json, "checkpoint_after_promote");
  }
  member.wal_position = lsn_of(json, "xlog_location");
  member.receive_lsn = lsn_of(json, "receive_lsn");
  member.replay_lsn = lsn_of(json, "replay_lsn");
  if (const auto* timeline = find(json, "timeline")) member.timeline = timeline_of(*timeline);
  member.replication_state = text_of(json, "replication_state");
  read_scheduled_restart(json, member);
  member.pause = truth(json, "pause");
  member.progress = text_of(json, "progress");
  member.problem = text_of(json, "problem");
  return member;
}

ClusterStatus parse_status(const std::string& value) {
  ClusterStatus status;
  const Json json = parse(value);
  if (json.is_number()) {
    status.optime = lsn_of(json);
    return status;
  }
  status.optime = lsn_of(json, "optime");
  const auto nested = [&json](const char* key) {
    const auto* found = find(json, key);
    if (found == nullptr) return Json();
    return found->is_string() ? parse(found->get<std::string>()) : *found;
  };
  if (const Json slots = nested("slots"); slots.is_object()) {
    for (const auto& [name, position] : slots.items()) {
      if (const Lsn lsn = lsn_of(position); lsn.known()) status.slots[name] = lsn;
    }
  }
  if (const Json retain = nested("retain_slots"); retain.is_array()) {
    for (const auto& name : retain) {
      if (name.is_string()) status.retain_slots.push_back(name.get<std::string>());
    }
  }
  return status;
}

std::vector<HistoryEntry> parse_history(const std::string& value) {
  std::vector<HistoryEntry> history;
  const Json json = parse(value);
  if (!json.is_array()) return history;
  const auto text_at = [](const Json& line, std::size_t place) {
    return line.size() > place && line[place].is_string() ? line[place].get<std::string>() : std::string();
  };
  for (const auto& line : json) {
    if (!line.is_array() || line.size() < 2) continue;
    const Timeline timeline = timeline_of(line[0]);
    if (!timeline.known()) continue;
    history.push_back({timeline, lsn_of(line[1]), text_at(line, 2), text_at(line, 3), text_at(line, 4)});
  }
  return history;
}

std::vector<ConfigChange> parse_config_history(const std::string& value) {
  std::vector<ConfigChange> history;
  const Json json = parse(value);
  if (!json.is_array()) return history;
  for (const auto& line : json) {
    if (!line.is_object()) continue;
    ConfigChange change;
    if (const auto* revision = find(line, "revision")) change.revision = Revision(integer(*revision).value_or(0));
    change.timestamp = text_of(line, "timestamp");
    if (const auto* changes = find(line, "changes"); changes != nullptr && changes->is_array()) {
      for (const auto& text : *changes) {
        if (text.is_string()) change.changes.push_back(text.get<std::string>());
      }
    }
    history.push_back(std::move(change));
  }
  return history;
}

std::optional<CrashNote> parse_crash(const std::string& value) {
  const Json json = parse(value);
  CrashNote note;
  note.leader = MemberName(text_of(json, "leader"));
  note.successor = MemberName(text_of(json, "successor"));
  if (const auto* timeline = find(json, "timeline")) note.end.timeline = timeline_of(*timeline);
  note.end.redo = lsn_of(json, "redo");
  note.end.end = lsn_of(json, "end");
  note.timestamp = text_of(json, "timestamp");
  note.reason = text_of(json, "reason");
  if (note.leader.empty()) return std::nullopt;
  return note;
}

std::optional<DrainRequest> parse_drain(const std::string& value) {
  const Json json = parse(value);
  DrainRequest request;
  request.id = text_of(json, "id");
  request.reason = text_of(json, "reason");
  request.leader = MemberName(text_of(json, "leader"));
  request.term = term_of(json, "term");
  request.timeout = seconds_of(json, "timeout");
  if (request.id.empty() || request.leader.empty()) return std::nullopt;
  return request;
}

Pooler parse_pooler(const std::string& name, const std::string& value) {
  const Json json = parse(value);
  Pooler pooler;
  pooler.name = name;
  pooler.host = text_of(json, "host");
  pooler.version = text_of(json, "version");
  pooler.listen = text_of(json, "listen");
  pooler.term = term_of(json, "term");
  if (const auto* drain = find(json, "drain"); drain != nullptr && drain->is_object()) {
    pooler.drain = PoolerDrain{text_of(*drain, "id"), text_of(*drain, "state") == "drained", count_of(*drain, "active"),
                               count_of(*drain, "waiting")};
  }
  return pooler;
}

std::optional<DrainNote> parse_drain_note(const std::string& value) {
  const Json json = parse(value);
  DrainNote note;
  note.leader = MemberName(text_of(json, "leader"));
  if (const auto* timeline = find(json, "timeline")) note.timeline = timeline_of(*timeline);
  note.reason = text_of(json, "reason");
  note.timestamp = text_of(json, "timestamp");
  note.waited = seconds_of(json, "waited");
  note.poolers = count_of(json, "poolers");
  note.undrained = count_of(json, "undrained");
  note.active = count_of(json, "active");
  if (note.leader.empty()) return std::nullopt;
  return note;
}

SyncKey parse_sync(const std::string& value) {
  SyncKey sync;
  const Json json = parse(value);
  sync.leader = MemberName(text_of(json, "leader"));
  if (const auto* quorum = find(json, "quorum")) {
    sync.quorum = static_cast<std::uint32_t>(std::clamp<std::int64_t>(integer(*quorum).value_or(0), 0, 100000));
  }
  const std::string standbys = text_of(json, "sync_standby");
  for (std::size_t at = 0; at < standbys.size();) {
    const auto comma = std::min(standbys.find(',', at), standbys.size());
    if (comma > at) sync.standbys.emplace_back(standbys.substr(at, comma - at));
    at = comma + 1;
  }
  return sync;
}

std::optional<FailoverRequest> parse_failover(const std::string& value) {
  FailoverRequest request;
  const Json json = parse(value);
  if (json.is_object()) {
    request.leader = MemberName(text_of(json, "leader"));
    request.candidate = MemberName(text_of(json, "member"));
    request.scheduled_text = text_of(json, "scheduled_at");
    request.scheduled_at = parse_instant(request.scheduled_text);
    // An unreadable time must not turn into "now".
    if (!request.scheduled_text.empty() && !request.scheduled_at) return std::nullopt;
  } else if (const auto colon = value.find(':'); json.is_null() && colon != std::string::npos) {
    request.leader = MemberName(value.substr(0, colon));
    request.candidate = MemberName(value.substr(colon + 1));
  }
  if (request.leader.empty() && request.candidate.empty()) return std::nullopt;
  return request;
}

std::map<std::string, std::string> parse_failsafe(const std::string& value) {
  std::map<std::string, std::string> members;
  const Json json = parse(value);
  if (!json.is_object()) return members;
  for (const auto& [name, url] : json.items()) {
    if (url.is_string()) members[name] = url.get<std::string>();
  }
  return members;
}

}  // namespace pgvigil::dcs
