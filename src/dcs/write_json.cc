#include <nlohmann/json.hpp>

#include "dcs/member_json.h"

namespace pgvigil::dcs {
namespace {

using Json = nlohmann::ordered_json;

std::string compact(const Json& json) { return json.dump(-1, ' ', true, Json::error_handler_t::replace); }

Json restart_json(const RestartRequest& request) {
  Json json;
  json["schedule"] = request.schedule_text;
  json["postmaster_start_time"] = request.postmaster_start_time;
  if (request.role) json["role"] = to_string(*request.role);
  if (!request.postgres_version.empty()) json["postgres_version"] = request.postgres_version;
  if (request.restart_pending) json["restart_pending"] = true;
  if (request.timeout) json["timeout"] = std::chrono::duration_cast<std::chrono::seconds>(*request.timeout).count();
  return json;
}

void add_positions(Json& json, const Member& m) {
  if (m.wal_position.known()) json["xlog_location"] = m.wal_position.value();
  if (m.replay_lsn.known()) json["replay_lsn"] = m.replay_lsn.value();
  if (m.receive_lsn.known()) json["receive_lsn"] = m.receive_lsn.value();
  if (!m.replication_state.empty()) json["replication_state"] = m.replication_state;
  if (m.timeline.known()) json["timeline"] = m.timeline.value();
}

}  // namespace

std::string member_to_json(const Member& m) {
  Json json;
  json["conn_url"] = m.conn_url;
  json["api_url"] = m.api_url;
  json["state"] = to_string(m.state);
  // Members of Patroni before 4.0 know a leader as "master"; later ones read both, but rewind only from "primary".
  json["role"] = to_string(m.role);
  json["version"] = m.version;
  if (!m.proxy_url.empty()) json["proxy_url"] = m.proxy_url;
  // Only ever false: the presence of the field is what peers look at.
  if (m.checkpoint_after_promote && !*m.checkpoint_after_promote) json["checkpoint_after_promote"] = false;
  if (!m.raw_tags.empty()) {
    auto tags = Json::parse(m.raw_tags, nullptr, false);
    if (tags.is_object() && !tags.empty()) json["tags"] = std::move(tags);
  }
  if (m.pending_restart_flag) {
    json["pending_restart"] = true;
    Json reasons = Json::object();
    for (const auto& [name, change] : m.pending_restart) {
      reasons[name] = {{"old_value", change.old_value}, {"new_value", change.new_value}};
    }
    if (!reasons.empty()) json["pending_restart_reason"] = std::move(reasons);
  }
  add_positions(json, m);
  if (m.scheduled_restart) json["scheduled_restart"] = restart_json(*m.scheduled_restart);
  if (m.pause) json["pause"] = true;
  if (!m.progress.empty()) json["progress"] = m.progress;
  if (!m.problem.empty()) json["problem"] = m.problem;
  return compact(json);
}

std::string status_to_json(const ClusterStatus& status) {
  Json json;
  json["optime"] = status.optime.value();
  if (!status.slots.empty()) {
    Json slots = Json::object();
    for (const auto& [name, position] : status.slots) slots[name] = position.value();
    json["slots"] = std::move(slots);
  }
  if (!status.retain_slots.empty()) json["retain_slots"] = status.retain_slots;
  return compact(json);
}

std::string history_to_json(const std::vector<HistoryEntry>& history) {
  Json json = Json::array();
  for (const auto& entry : history) {
    Json line = Json::array({entry.timeline.value(), entry.switch_point.value(), entry.reason});
    if (!entry.timestamp.empty() || !entry.new_leader.empty()) line.push_back(entry.timestamp);
    if (!entry.new_leader.empty()) line.push_back(entry.new_leader);
    json.push_back(std::move(line));
  }
  return compact(json);
}

std::string config_history_to_json(const std::vector<ConfigChange>& history) {
  Json json = Json::array();
  for (const auto& entry : history) {
    json.push_back({{"revision", entry.revision.value()}, {"timestamp", entry.timestamp}, {"changes", entry.changes}});
  }
  return compact(json);
}

std::string crash_to_json(const CrashNote& note) {
  Json json;
  json["leader"] = note.leader.text();
  if (!note.successor.empty()) json["successor"] = note.successor.text();
  json["timeline"] = note.end.timeline.value();
  json["redo"] = note.end.redo.value();
  json["end"] = note.end.end.value();
  json["timestamp"] = note.timestamp;
  json["reason"] = note.reason;
  return compact(json);
}

std::string drain_to_json(const DrainRequest& request) {
  Json json;
  json["id"] = request.id;
  json["reason"] = request.reason;
  json["leader"] = request.leader.text();
  json["term"] = std::to_string(request.term.value());
  json["timeout"] = seconds_of(request.timeout);
  return compact(json);
}

std::string pooler_to_json(const Pooler& pooler) {
  Json json;
  json["name"] = pooler.name;
  json["host"] = pooler.host;
  json["version"] = pooler.version;
  json["listen"] = pooler.listen;
  json["term"] = std::to_string(pooler.term.value());
  if (const auto& drain = pooler.drain) {
    json["drain"] = {{"id", drain->id},
                     {"state", drain->drained ? "drained" : "draining"},
                     {"active", drain->active},
                     {"waiting", drain->waiting}};
  }
  return compact(json);
}

std::string drain_note_to_json(const DrainNote& note) {
  Json json;
  json["leader"] = note.leader.text();
  json["timeline"] = note.timeline.value();
  json["reason"] = note.reason;
  json["timestamp"] = note.timestamp;
  json["waited"] = seconds_of(note.waited);
  json["poolers"] = note.poolers;
  json["undrained"] = note.undrained;
  json["active"] = note.active;
  return compact(json);
}

std::string failsafe_to_json(const std::map<std::string, std::string>& members) {
  Json json = Json::object();
  for (const auto& [name, url] : members) json[name] = url;
  return compact(json);
}

std::string failsafe_ping_to_json(const MemberName& name, const std::string& conn_url, const std::string& api_url,
                                  Duration ttl) {
  Json json;
  json["name"] = name.text();
  json["conn_url"] = conn_url;
  json["api_url"] = api_url;
  json["slots"] = Json::object();
  json["ttl"] = std::chrono::duration_cast<std::chrono::milliseconds>(ttl).count();
  return compact(json);
}

std::string sync_to_json(const SyncKey& sync) {
  Json json;
  json["leader"] = sync.leader.empty() ? Json(nullptr) : Json(sync.leader.text());
  json["quorum"] = sync.quorum;
  std::string standbys;
  for (const auto& name : sync.standbys) standbys += (standbys.empty() ? "" : ",") + name.text();
  json["sync_standby"] = standbys.empty() ? Json(nullptr) : Json(standbys);
  return compact(json);
}

std::string failover_to_json(const FailoverRequest& request) {
  Json json = Json::object();
  if (!request.leader.empty()) json["leader"] = request.leader.text();
  if (!request.candidate.empty()) json["member"] = request.candidate.text();
  if (request.scheduled_at) json["scheduled_at"] = request.scheduled_text;
  return compact(json);
}

}  // namespace pgvigil::dcs
