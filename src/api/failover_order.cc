#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "api/unsafe.h"
#include "base/timestamp.h"

namespace pgvigil::api {
namespace {

std::string name_in(const Json& body, const char* key) {
  const auto found = body.find(key);
  return found == body.end() || !truthy(*found) ? std::string() : text_of(*found);
}

bool is_sync_standby(const ClusterView& view, const MemberName& name) {
  // The leader named there does not count: when it is not the leader any more, nothing says that it has every commit.
  const auto& standbys = view.sync.standbys;
  return std::find(standbys.begin(), standbys.end(), name) != standbys.end();
}

// What of the order contradicts itself; empty: nothing.
std::string contradiction(const FailoverOrder& order, bool paused) {
  if (paused && order.candidate.empty()) return "Switchover is possible only to a specific candidate in a paused state";
  if (order.leader == order.candidate) return "Switchover target and source are the same";
  return {};
}

// What of it the cluster does not fit; empty: nothing.
std::string mismatch(const FailoverOrder& order, const ClusterView& view) {
  if (!order.leader.empty() && !view.led_by(MemberName(order.leader))) return "leader name does not match";
  const bool sync_only = view.settings.synchronous_mode == SyncMode::On;
  if (!order.candidate.empty()) {
    const MemberName candidate(order.candidate);
    // A failover may choose any member: it is the way out when no synchronous standby is left.
    if (order.switchover && sync_only && !is_sync_standby(view, candidate)) {
      return "candidate name does not match with sync_standby";
    }
    return view.member(candidate) == nullptr ? "candidate does not exists" : "";
  }
  bool found = false;
  for (const Member& member : view.members) {
    if (view.led_by(member.name)) continue;
    found = found || (sync_only ? is_sync_standby(view, member.name) : !member.api_url.empty());
  }
  if (found) return {};
  return order.action() + (sync_only ? " is not possible: can not find sync_standby"
                                     : " is not possible: cluster does not have members except leader");
}

}  // namespace

std::optional<Schedule> parse_schedule(const Json& value, const std::string& action, WallTime now,
                                       agent::CommandReply& refusal) {
  const auto time = value.is_string() ? parse_timestamp(value.get_ref<const std::string&>()) : std::nullopt;
  if (!time) {
    refusal = {422, "Unable to parse scheduled timestamp. It should be in an unambiguous format, e.g. ISO 8601"};
    return std::nullopt;
  }
  if (!time->offset) {
    refusal = {400, "Timezone information is mandatory for the scheduled " + action};
    return std::nullopt;
  }
  if (time->at < now) {
    refusal = {422, "Cannot schedule " + action + " in the past"};
    return std::nullopt;
  }
  return Schedule{time->at, iso_text(time->at, *time->offset)};
}

std::string FailoverOrder::action() const { return switchover ? "switchover" : "failover"; }

std::string FailoverOrder::key() const {
  Json value = Json::object();
  if (!leader.empty()) value["leader"] = leader;
  if (!candidate.empty()) value["member"] = candidate;
  if (schedule) value["scheduled_at"] = schedule->text;
  return dump_compact(value);
}

std::optional<FailoverOrder> check_failover(const std::string& path_action, const Json& body, const ClusterView& view,
                                            bool paused, WallTime now, agent::CommandReply& refusal) {
  FailoverOrder order;
  order.leader = name_in(body, "leader");
  order.candidate = name_in(body, "candidate");
  if (order.candidate.empty()) order.candidate = name_in(body, "member");
  order.switchover = path_action == "switchover" || !order.leader.empty();
  refusal = {400, {}};
  if (path_action == "failover" && order.candidate.empty()) {
    refusal.text = "Failover could be performed only to a specific candidate";
    return std::nullopt;
  }
  if (path_action == "switchover" && order.leader.empty()) {
    refusal.text = "Switchover could be performed only from a specific leader";
    return std::nullopt;
  }
  const auto scheduled = body.find("scheduled_at");
  if (scheduled != body.end() && truthy(*scheduled)) {
    if (path_action == "failover" || paused) {
      refusal.text =
          path_action == "failover" ? "Failover can't be scheduled" : "Can't schedule switchover in the paused state";
      return std::nullopt;
    }
    order.schedule = parse_schedule(*scheduled, path_action, now, refusal);
    if (!order.schedule) return std::nullopt;
  }
  refusal.text = contradiction(order, paused);
  if (!refusal.text.empty()) return std::nullopt;
  // A scheduled one is checked when its time has come: the cluster may be another by then.
  if (!order.schedule) {
    refusal = {412, mismatch(order, view)};
    if (!refusal.text.empty()) return std::nullopt;
  }
  return order;
}

}  // namespace pgvigil::api
