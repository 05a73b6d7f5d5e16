#include "api/health.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "api/units.h"

namespace pgvigil::api {
namespace {

constexpr int kYes = 200;
constexpr int kNo = 503;

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

template <class... Names>
bool is_one_of(std::string_view path, Names... names) {
  return ((path == names) || ...);
}

enum class Check : std::uint8_t { StandbyLeader, Leader, Primary, Replica, ReadOnly, Health, Exact };

// The order is part of the interface: "/standby-leader" contains "leader", "/read-only-primary" contains "primary".
Check check_of(std::string_view path) {
  if (contains(path, "standby_leader") || contains(path, "standby-leader")) return Check::StandbyLeader;
  if (contains(path, "leader")) return Check::Leader;
  if (contains(path, "master") || contains(path, "primary") || contains(path, "read-write")) return Check::Primary;
  if (contains(path, "replica")) return Check::Replica;
  if (contains(path, "read-only") && !contains(path, "sync") && !contains(path, "quorum")) return Check::ReadOnly;
  if (contains(path, "health")) return Check::Health;
  return Check::Exact;
}

bool follows_lock(Check check) {
  return check == Check::StandbyLeader || check == Check::Leader || check == Check::Primary;
}

std::string_view path_of(const Target& target) {
  return target.path == "/" ? std::string_view("/primary") : std::string_view(target.path);
}

const std::string* parameter(const Target& target, const std::string& name) {
  const auto found = target.query.find(name);
  return found == target.query.end() ? nullptr : &found->second;
}

struct LeaderFlags {
  bool leader = false, primary = false, standby_leader = false;
};

LeaderFlags leader_flags(const Observed& node) {
  if (node.view() == nullptr && node.paused()) {
    // In pause the operator is in charge: with etcd away there is nothing better to go by than PostgreSQL itself.
    const std::string role = node.role();
    return {role == "primary" || role == "standby_leader", role == "primary", role == "standby_leader"};
  }
  if (!node.is_leader()) return {};
  if (!node.standby_cluster()) return {true, true, false};
  const std::string role = node.role();
  return {true, false, role == "replica" || role == "standby_leader"};
}

bool lag_fits(const Target& target, const Observed& node) {
  const std::string* text = parameter(target, "lag");
  const auto limit = text == nullptr ? std::nullopt : parse_bytes(*text);
  if (!limit) return true;
  const Lsn optime = node.view() == nullptr ? Lsn() : node.view()->status.optime;
  const bool standby = node.sql_worked() && node.instance.in_recovery;
  const Lsn upstream = std::max(optime, standby ? node.instance.latest_end : Lsn());
  if (!upstream.known()) return true;
  const Lsn replayed = standby ? node.instance.replayed : Lsn();
  return static_cast<std::int64_t>(upstream - replayed) <= *limit;
}

bool replica_condition(const Target& target, const Observed& node) {
  if (node.role() != "replica" || !node.running() || node.status->tags.noloadbalance) return false;
  // The lock holder of a standby cluster is never its replica, whatever its role is called meanwhile.
  if (node.standby_cluster() && node.is_leader()) return false;
  if (!lag_fits(target, node)) return false;
  const std::string* state = parameter(target, "replication_state");
  return state == nullptr || *state == node.instance.replication_state;
}

bool exact_check(std::string_view path, const Target& target, const Observed& node, const LeaderFlags& flags) {
  if (node.view() == nullptr) return false;
  const bool sync = node.sync_standby();
  const bool quorum = node.quorum_standby();
  const bool read_write = flags.primary || flags.standby_leader;
  const bool replica = replica_condition(target, node);
  if (is_one_of(path, "/sync", "/synchronous")) return sync && replica;
  if (path == "/quorum") return quorum && replica;
  if (is_one_of(path, "/async", "/asynchronous")) return !sync && !quorum && replica;
  if (path == "/read-only-quorum") return read_write || (quorum && replica);
  if (is_one_of(path, "/read-only-sync", "/read-only-synchronous")) return read_write || (sync && replica);
  return false;
}

std::string tag_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  std::string text = dump_spaced(value);
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

bool tags_match(const Target& target, const agent::AgentStatus& status) {
  constexpr std::string_view kPrefix = "tag_";
  std::optional<Json> tags;
  for (const auto& [name, wanted] : target.query) {
    if (std::string_view(name).substr(0, kPrefix.size()) != kPrefix) continue;
    if (!tags) tags = parse_json_object(status.raw_tags).value_or(Json::object());
    const auto found = tags->find(name.substr(kPrefix.size()));
    if (found == tags->end() || found->is_null() || tag_text(*found) != wanted) return false;
  }
  return true;
}

}  // namespace

bool needs_observation(const Target& target, const agent::AgentStatus& status) {
  if (!follows_lock(check_of(path_of(target)))) return true;
  const bool blind_pause = status.paused && !(status.dcs_fresh && status.view);
  return blind_pause || (status.view && status.view->settings.standby_cluster);
}

int health_status(const Target& target, const Observed& node) {
  const std::string_view path = path_of(target);
  const LeaderFlags flags = leader_flags(node);
  const Check check = check_of(path);
  bool good = false;
  switch (check) {
    case Check::StandbyLeader: good = flags.standby_leader; break;
    case Check::Leader: good = flags.leader; break;
    case Check::Primary: good = flags.primary; break;
    case Check::Replica: good = replica_condition(target, node); break;
    case Check::ReadOnly: good = flags.primary || flags.standby_leader || replica_condition(target, node); break;
    case Check::Health: good = node.running(); break;
    case Check::Exact: good = exact_check(path, target, node, flags); break;
  }
  if (good && !follows_lock(check)) good = tags_match(target, *node.status);
  return good ? kYes : kNo;
}

int liveness_status(const Observed& node) {
  const bool primary = node.status->role == Role::Leader && node.instance.postmaster != PostmasterState::Stopped;
  // A stuck agent beside a replica harms less, so it gets longer.
  const Duration patience = node.settings().ttl * (primary ? 1 : 2);
  const TimePoint due = node.status->next_step_by;
  return node.paused() || node.now < due || node.now - due < patience ? kYes : kNo;
}

int readiness_status(const Target& target, const Observed& node) {
  if (node.is_leader()) return kYes;
  if (!node.running() || !node.instance.in_recovery || node.instance.replication_state != "streaming") return kNo;
  if (node.view() == nullptr && !node.instance.latest_end.known()) return node.status->failsafe_active ? kYes : kNo;
  const Lsn optime = node.view() == nullptr ? Lsn() : node.view()->status.optime;
  const std::string* mode = parameter(target, "mode");
  const bool write = mode != nullptr && *mode == "write";
  const Lsn position = write && node.instance.received.known() ? node.instance.received : node.instance.replayed;
  const auto lag = static_cast<std::int64_t>(std::max(optime, node.instance.latest_end) - position);
  const std::string* text = parameter(target, "lag");
  const auto limit = text == nullptr ? std::nullopt : parse_bytes(*text);
  return lag <= limit.value_or(static_cast<std::int64_t>(node.settings().maximum_lag_on_failover)) ? kYes : kNo;
}

}  // namespace pgvigil::api
