#include "follow/cluster_state.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/timestamp.h"

namespace pgvigil::follow {
namespace {

using Json = nlohmann::json;
using pool::ClusterMember;
using pool::ClusterState;

std::string text_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::optional<std::int64_t> number_of(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_integer()) return std::nullopt;
  return found->get<std::int64_t>();
}

Lsn position_of(const Json& object, const char* key) {
  const auto number = number_of(object, key);
  return number && *number > 0 ? Lsn(static_cast<std::uint64_t>(*number)) : Lsn();
}

bool truth(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

// What the leader has written, by whoever knows it best.
Lsn leader_position(const ClusterView& view, const LagSamples& samples) {
  Lsn position = view.status.optime;
  if (const Member* leader = view.leader_member()) position = std::max(position, leader->wal_position);
  for (const auto& [name, sample] : samples) {
    if (sample.primary && view.led_by(MemberName(name))) position = std::max(position, sample.position);
  }
  return position;
}

void add_lag(ClusterMember& member, Lsn leader, Lsn replayed, const LagSample* sample, WallTime now) {
  if (!leader.known() || !replayed.known()) return;
  member.lag = std::max<std::int64_t>(0, static_cast<std::int64_t>(leader - replayed));
  if (*member.lag == 0) {
    member.lag_time = Duration(0);
  } else if (sample != nullptr && sample->replayed) {
    member.lag_time = std::max<Duration>(Duration(0), now - *sample->replayed);
  }
}

// The roles of GET /cluster are finer than ours.
Role role_of_row(const std::string& role) {
  if (role == "leader") return Role::Leader;
  if (role == "standby_leader") return Role::StandbyLeader;
  return role == "replica" || role == "sync_standby" || role == "quorum_standby" ? Role::Replica : Role::Uninitialized;
}

std::optional<ClusterMember> member_of_row(const Json& row) {
  if (!row.is_object()) return std::nullopt;
  ClusterMember member;
  member.name = MemberName(text_of(row, "name"));
  member.host = text_of(row, "host");
  const auto port = number_of(row, "port");
  if (member.name.empty() || member.host.empty() || !port || *port < 1 || *port > 65535) return std::nullopt;
  member.port = static_cast<int>(*port);
  member.role = role_of_row(text_of(row, "role"));
  const std::string state = text_of(row, "state");
  const bool replicates = state == "streaming" || state == "in archive recovery";
  member.state = replicates ? InstanceState::Running : parse_instance_state(state).value_or(InstanceState::Stopped);
  if (const auto timeline = number_of(row, "timeline"); timeline && *timeline > 0 && *timeline <= UINT32_MAX) {
    member.timeline = Timeline(static_cast<std::uint32_t>(*timeline));
  }
  const auto lag = number_of(row, "replay_lag");
  member.lag = lag ? lag : number_of(row, "lag");
  if (member.lag == 0) member.lag_time = Duration(0);
  if (const auto tags = row.find("tags"); tags != row.end() && tags->is_object()) {
    member.noloadbalance = truth(*tags, "noloadbalance");
  }
  return member;
}

}  // namespace

std::optional<LagSample> parse_lag(const std::string& document) {
  const Json json = Json::parse(document, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  const auto xlog = json.find("xlog");
  if (xlog == json.end() || !xlog->is_object()) return std::nullopt;
  LagSample sample;
  sample.primary = xlog->contains("location");
  sample.position = position_of(*xlog, sample.primary ? "location" : "replayed_location");
  if (!sample.position.known()) return std::nullopt;
  sample.replayed = parse_instant(text_of(*xlog, "replayed_timestamp"));
  return sample;
}

ClusterState state_of(const ClusterView& view, const LagSamples& samples, WallTime now) {
  ClusterState state;
  state.source = ClusterState::Source::Etcd;
  if (view.leader) {
    state.leader = view.leader->name;
    state.term = view.leader->term;
  }
  state.drain = view.drain;
  const Lsn leader = leader_position(view, samples);
  for (const Member& seen : view.members) {
    ClusterMember member;
    member.name = seen.name;
    member.host = seen.host;
    member.port = seen.port;
    member.role = seen.role;
    member.state = seen.state;
    member.timeline = seen.timeline;
    member.noloadbalance = seen.tags.noloadbalance;
    const auto sample = samples.find(seen.name.text());
    const LagSample* own = sample == samples.end() || sample->second.primary ? nullptr : &sample->second;
    Lsn replayed = seen.replay_lsn.known() ? seen.replay_lsn : seen.wal_position;
    if (own != nullptr) replayed = std::max(replayed, own->position);
    add_lag(member, leader, replayed, own, now);
    state.members.push_back(std::move(member));
  }
  return state;
}

std::optional<ClusterState> state_of_documents(const std::vector<std::string>& documents) {
  std::optional<ClusterState> best;
  Timeline best_timeline;
  for (const auto& text : documents) {
    const Json json = Json::parse(text, nullptr, false);
    if (!json.is_object() || !json.contains("members") || !json["members"].is_array()) continue;
    ClusterState state;
    state.source = ClusterState::Source::Rest;
    Timeline timeline;
    for (const auto& row : json["members"]) {
      auto member = member_of_row(row);
      if (!member) continue;
      if (member->role == Role::Leader || member->role == Role::StandbyLeader) {
        state.leader = member->name;
        timeline = member->timeline;
      }
      state.members.push_back(std::move(*member));
    }
    if (best && !(timeline > best_timeline) && !(best->leader.empty() && !state.leader.empty())) continue;
    best = std::move(state);
    best_timeline = timeline;
  }
  return best;
}

}  // namespace pgvigil::follow
