#include "api/documents.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "base/timestamp.h"

namespace pgvigil::api {
namespace {

Json xlog_object(const Instance& instance) {
  if (!instance.in_recovery) return {{"location", instance.flushed.value()}};
  const Lsn received = instance.received.known() ? instance.received : instance.replayed;
  Json xlog = Json::object();
  xlog["received_location"] = received.value();
  xlog["replayed_location"] = instance.replayed.value();
  xlog["replayed_timestamp"] = instance.replayed_timestamp.empty() ? Json(nullptr) : Json(instance.replayed_timestamp);
  xlog["paused"] = instance.replay_paused;
  return xlog;
}

Json replication_array(const Instance& instance) {
  Json rows = Json::array();
  for (const WalSender& sender : instance.wal_senders) {
    Json row = Json::object();
    row["usename"] = sender.user;
    row["application_name"] = sender.application_name;
    row["client_addr"] = sender.client_address.empty() ? Json(nullptr) : Json(sender.client_address);
    row["state"] = sender.state;
    row["sync_state"] = sender.sync_state;
    row["sync_priority"] = sender.sync_priority;
    rows.push_back(std::move(row));
  }
  return rows;
}

Json pending_reasons(const std::map<std::string, PendingChange>& changes) {
  Json reasons = Json::object();
  for (const auto& [name, change] : changes) {
    reasons[name] = Json::object({{"old_value", change.old_value}, {"new_value", change.new_value}});
  }
  return reasons;
}

Json restart_object(const RestartRequest& request) {
  Json object = Json::object();
  if (!request.schedule_text.empty()) {
    object["schedule"] = request.schedule_text;
  } else if (request.schedule) {
    object["schedule"] = iso_text(*request.schedule, std::chrono::minutes(0));
  }
  if (request.role) object["role"] = to_string(*request.role);
  if (!request.postgres_version.empty()) object["postgres_version"] = request.postgres_version;
  if (request.restart_pending) object["restart_pending"] = true;
  if (request.timeout) {
    object["timeout"] = std::chrono::duration_cast<std::chrono::seconds>(*request.timeout).count();
  }
  return object;
}

void add_sql_part(Json& document, const Observed& node) {
  const Instance& instance = node.instance;
  document["postmaster_start_time"] = instance.postmaster_start_time;
  document["role"] = node.role();
  document["server_version"] = instance.server_version;
  document["xlog"] = xlog_object(instance);
  if (node.sync_standby()) document["sync_standby"] = true;
  if (node.quorum_standby()) document["quorum_standby"] = true;
  document["timeline"] = instance.timeline.known() ? Json(instance.timeline.value()) : Json(nullptr);
  if (instance.in_recovery && !instance.replication_state.empty()) {
    document["replication_state"] = instance.replication_state;
  }
  if (!instance.wal_senders.empty()) document["replication"] = replication_array(instance);
}

Json crash_object(const CrashNote& crash) {
  Json object = Json::object();
  object["at"] = crash.timestamp;
  object["leader"] = crash.leader.text();
  object["outcome"] = crash.successor.empty() ? "started in place" : "handed over";
  if (!crash.successor.empty()) object["successor"] = crash.successor.text();
  object["timeline"] = crash.end.timeline.value();
  object["wal_end"] = crash.end.end.value();
  object["bytes_to_replay"] = static_cast<std::int64_t>(crash.end.to_replay());
  object["reason"] = crash.reason;
  return object;
}

Json own_object(const Observed& node, const Versions& versions) {
  const agent::AgentStatus& status = *node.status;
  Json own = Json::object();
  own["version"] = versions.pgvigil;
  own["action"] = to_string(status.last_decision.action);
  own["rule"] = status.last_decision.rule;
  own["reason"] = status.last_decision.reason;
  if (!status.operation.empty()) own["operation"] = status.operation;
  if (!status.progress.empty()) own["progress"] = status.progress;
  if (!status.problem.empty()) own["problem"] = status.problem;
  if (status.guard_armed) own["guard_armed"] = *status.guard_armed;
  if (status.view && status.view->crash) own["last_crash"] = crash_object(*status.view->crash);
  return own;
}

std::string_view member_role(const ClusterView& view, const Member& member) {
  if (view.led_by(member.name)) return view.settings.standby_cluster ? "standby_leader" : "leader";
  const auto& standbys = view.sync.standbys;
  if (view.settings.synchronous_mode != SyncMode::Off &&
      std::find(standbys.begin(), standbys.end(), member.name) != standbys.end()) {
    return view.settings.synchronous_mode == SyncMode::Quorum ? "quorum_standby" : "sync_standby";
  }
  return "replica";
}

void add_position(Json& document, const std::string& prefix, Lsn position, Lsn optime) {
  const std::string lag = prefix + "lag";
  const std::string lsn = prefix + "lsn";
  if (!position.known()) {
    document[lsn] = "unknown";
    document[lag] = "unknown";
    return;
  }
  const auto behind = static_cast<std::int64_t>(optime - position);
  document[lag] = std::max<std::int64_t>(behind, 0);
  document[lsn] = to_string(position);
}

// Published fields are passed on as the member wrote them; what cannot be read of its value is left out.
void copy_fields(Json& document, const Member& member) {
  const auto raw = parse_json_object(member.raw);
  if (!raw) return;
  for (const char* field : {"timeline", "pending_restart", "pending_restart_reason", "scheduled_restart", "tags"}) {
    if (const auto found = raw->find(field); found != raw->end()) document[field] = *found;
  }
}

Json member_object(const ClusterView& view, const Member& member) {
  const std::string_view role = member_role(view, member);
  Json document = Json::object();
  document["name"] = member.name.text();
  document["role"] = role;
  const bool show_replication = role != "leader" && !member.replication_state.empty();
  // A value that could not be parsed has no state; the default would be a claim.
  const bool readable = !member.conn_url.empty() || !member.api_url.empty();
  document["state"] = show_replication ? Json(member.replication_state)
                      : readable       ? Json(to_string(member.state))
                                       : Json("");
  document["api_url"] = member.api_url;
  if (!member.host.empty()) {
    document["host"] = member.host;
    document["port"] = member.port;
  }
  copy_fields(document, member);
  if (!view.led_by(member.name)) {
    const Lsn optime = view.status.optime;
    add_position(document, "receive_", member.receive_lsn, optime);
    add_position(document, "replay_", member.replay_lsn, optime);
    add_position(document, "", member.wal_position, optime);
  }
  if (!member.progress.empty()) document["progress"] = member.progress;
  if (!member.problem.empty()) document["problem"] = member.problem;
  return document;
}

}  // namespace

Json status_document(const Observed& node, const Versions& versions) {
  const agent::AgentStatus& status = *node.status;
  Json document = Json::object();
  document["state"] = node.state();
  if (node.sql_worked()) {
    add_sql_part(document, node);
  } else {
    document["role"] = node.role();
  }
  if (node.paused()) document["pause"] = true;
  if (node.unlocked()) document["cluster_unlocked"] = true;
  if (status.failsafe_active) document["failsafe_mode_is_active"] = true;
  document["dcs_last_seen"] =
      status.dcs_last_seen
          ? std::chrono::duration_cast<std::chrono::seconds>(status.dcs_last_seen->time_since_epoch()).count()
          : 0;
  if (auto tags = parse_json_object(status.raw_tags); tags && !tags->empty()) document["tags"] = std::move(*tags);
  if (!node.instance.system_id.empty()) document["database_system_identifier"] = node.instance.system_id.text();
  if (!node.instance.pending_restart.empty()) {
    document["pending_restart"] = true;
    document["pending_restart_reason"] = pending_reasons(node.instance.pending_restart);
  }
  document["patroni"] =
      Json::object({{"version", versions.patroni}, {"scope", status.scope}, {"name", status.name.text()}});
  if (status.scheduled_restart) document["scheduled_restart"] = restart_object(*status.scheduled_restart);
  if (status.watchdog_failed) document["watchdog_failed"] = true;
  document["pgvigil"] = own_object(node, versions);
  return document;
}

Json cluster_document(const ClusterView& view, const std::string& scope) {
  std::vector<const Member*> members;
  for (const Member& member : view.members) members.push_back(&member);
  std::sort(members.begin(), members.end(), [](const Member* a, const Member* b) { return a->name < b->name; });
  Json document = Json::object();
  document["members"] = Json::array();
  for (const Member* member : members) document["members"].push_back(member_object(view, *member));
  document["scope"] = scope;
  if (view.settings.pause) document["pause"] = true;
  if (view.failover && view.failover->scheduled_at) {
    Json scheduled = Json::object();
    const auto given = parse_timestamp(view.failover->scheduled_text);
    scheduled["at"] =
        iso_text(*view.failover->scheduled_at, given && given->offset ? *given->offset : std::chrono::minutes(0));
    if (!view.failover->leader.empty()) scheduled["from"] = view.failover->leader.text();
    if (!view.failover->candidate.empty()) scheduled["to"] = view.failover->candidate.text();
    document["scheduled_switchover"] = std::move(scheduled);
  }
  return document;
}

std::optional<Json> history_document(const ClusterView& view) {
  if (!view.history_text) return std::nullopt;
  auto lines = parse_json(*view.history_text);
  if (!lines || !lines->is_array()) return std::nullopt;
  return lines;
}

std::optional<Json> config_document(const ClusterView& view) {
  if (!view.config) return std::nullopt;
  return parse_json_object(*view.config);
}

std::optional<Json> failsafe_document(const ClusterView& view) {
  if (!view.failsafe_present) return std::nullopt;
  Json map = Json::object();
  for (const auto& [member, url] : view.failsafe) map[member] = url;
  return map;
}

}  // namespace pgvigil::api
