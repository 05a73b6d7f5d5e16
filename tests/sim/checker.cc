#include "checker.h"

#include <algorithm>

#include "agent_parts.h"
#include "cluster.h"
#include "dcs/member_json.h"

namespace pgvigil::sim {
namespace {

// How long a member has to have been there unchanged before an election without it counts as a mistake.
constexpr Duration kAskable = std::chrono::seconds(4);
// A request to etcd may be applied this much later than it was sent.
constexpr Duration kLateRequest = std::chrono::seconds(16);
// How long an operator's order may explain a promotion.
constexpr Duration kOrderCounts = std::chrono::seconds(60);

}  // namespace

TimePoint Checker::now() const { return cluster_.world.now(); }

bool Checker::is_ordered(const std::string& name) const {
  const auto found = ordered_.find(name);
  return found != ordered_.end() && now() - found->second < kOrderCounts;
}

void Checker::broken(std::string promise) {
  if (broken_) return;
  cluster_.world.note("BROKEN: {}", promise);
  broken_ = std::move(promise);
}

void Checker::after_event() {
  const Machine* writer = nullptr;
  for (const auto& machine : cluster_.machines) {
    if (!machine->writable()) continue;
    const auto& server = *machine->server;
    if (writer != nullptr) {
      broken(fmt::format("{} and {} accept writes at the same time", writer->name.text(), machine->name.text()));
    }
    writer = machine.get();
    if (machine->guard.pid != server.pid) {
      broken(fmt::format("{} accepts writes and no guard watches it", machine->name.text()));
    }
  }
}

void Checker::note_replicated() {
  const Machine* primary = cluster_.primary();
  if (primary == nullptr) return;
  std::size_t common = primary->disk.wal.records.size();
  for (const auto& machine : cluster_.machines) {
    if (!machine->disk.present) return;
    common = std::min(common, common_records(primary->disk.wal, machine->disk.wal));
  }
  const auto& records = primary->disk.wal.records;
  if (common > replicated_.size()) {
    replicated_.assign(records.begin(), records.begin() + static_cast<std::ptrdiff_t>(common));
  }
}

void Checker::becomes_primary(const Machine& machine, bool promoted) {
  const Wal& wal = machine.disk.wal;
  const auto name = machine.name.text();
  const auto needed = replicated_.size();
  if (needed > 0 && (wal.records.size() < needed || wal.records[needed - 1].number != replicated_.back().number)) {
    broken(fmt::format("{} becomes primary without a commit that every member had acknowledged", name));
  }
  if (machine.server->being_created) return;
  keep_promises(machine);
  const auto* leader = cluster_.etcd.find(Cluster::key("leader"));
  // Started in place on the strength of the members' promise: the guard knows until when.
  const bool by_failsafe = leader == nullptr && !promoted && cluster_.settings().failsafe_mode &&
                           machine.guard.pid == machine.server->pid && machine.local_now() < machine.guard.deadline;
  if (!by_failsafe && (leader == nullptr || leader->value != name))
    broken(fmt::format("{} becomes primary without the leader key", name));
  if (!promoted) return;
  ++promotions;
  if (machine.tags.nofailover) broken(fmt::format("{} has the tag nofailover and is promoted", name));
  const auto* status = cluster_.etcd.find(Cluster::key("status"));
  if (status == nullptr || is_ordered(name)) return;
  const Lsn optime = dcs::parse_status(status->value).optime;
  const auto allowed = cluster_.settings().maximum_lag_on_failover;
  if (optime > wal.end() && optime - wal.end() > allowed) {
    broken(fmt::format("{} is promoted {} bytes behind the last leader's position in etcd", name,
                       static_cast<std::int64_t>(optime - wal.end())));
  }
}

void Checker::leader_key_changes(const dcs::KeyValue* before, const dcs::KeyValue* after, bool expired) {
  if (before != nullptr && after != nullptr && before->value != after->value) {
    broken(fmt::format("the leader key goes from {} to {} without having been free", before->value, after->value));
  }
  if (after != nullptr) {
    if (before == nullptr) {
      cluster_.world.note("etcd: {} takes the leader key", after->value);
      const Machine* writer = cluster_.primary();
      if (writer != nullptr && writer->name.text() != after->value) {
        broken(fmt::format("{} takes the leader key while {} accepts writes", after->value, writer->name.text()));
      }
      note_election(after->value);
    }
    return;
  }
  if (before == nullptr) return;
  cluster_.world.note("etcd: the leader key of {} is {}", before->value, expired ? "expired" : "released");
  const Machine* owner = cluster_.find(before->value);
  if (owner == nullptr) return;
  const bool promised = cluster_.settings().failsafe_mode && owner->server && owner->guard.pid == owner->server->pid &&
                        owner->local_now() < owner->guard.deadline;
  if (owner->writable() && expired && promised) {
    ++failsafe_expiries;  // it has the members' promise: nobody takes the key meanwhile
  } else if (owner->writable()) {
    broken(fmt::format("the leader key of {} is gone while its server accepts writes", before->value));
  }
  if (expired) {
    data_is_at_risk();
    return;
  }
  if (!owner->stopped_cleanly) return crash_gives_up(*owner);
  const auto all = owner->disk.wal.records.size();
  const bool held = std::any_of(cluster_.machines.begin(), cluster_.machines.end(), [&](const auto& other) {
    return other.get() != owner && common_records(other->disk.wal, owner->disk.wal) == all;
  });
  if (!held) {
    broken(fmt::format("{} stopped cleanly and gave the leader key up, and nobody else has its shutdown checkpoint",
                       before->value));
  }
}

// The leader's server has died and its agent gives the lead up: to somebody who holds all that it held, or because it
// cannot be started.
void Checker::crash_gives_up(const Machine& owner) {
  if (owner.server || owner.disk.standby_signal || owner.disk.state != ControlState::InProduction) return;
  const auto rule = owner.agent() == nullptr ? std::string_view() : owner.agent()->agent.status()->last_decision.rule;
  if (rule != "crash_handover" && rule != "disk_stuck") return data_is_at_risk();
  const auto all = owner.disk.wal.records.size();
  const bool held = std::any_of(cluster_.machines.begin(), cluster_.machines.end(), [&](const auto& other) {
    return other.get() != &owner && common_records(other->disk.wal, owner.disk.wal) == all;
  });
  ++crash_handovers;
  if (!held) broken(fmt::format("{} died and hands over, and nobody has all of its WAL", owner.name.text()));
}

// A race that nobody decided by name is won by whoever has the most WAL, of those that could be asked for a while.
void Checker::note_election(const std::string& winner) {
  if (is_ordered(winner) || cluster_.etcd.find(Cluster::key("failover")) != nullptr) return;
  const auto sync = sync_in_force();
  const Machine* chosen = cluster_.find(winner);
  if (chosen == nullptr || !chosen->server || !chosen->server->recovery) return;
  for (const auto& other : cluster_.machines) {
    if (other.get() == chosen || other->tags.nofailover || !other->answers() || !other->server->recovery) continue;
    const bool reachable = now() - other->at_ease_since > kAskable && other->agent_awake() &&
                           now() - other->awake_since > kAskable && other->weather.disk == 0ns &&
                           cluster_.network.calm(chosen->place, other->place, kAskable) &&
                           cluster_.network.calm(chosen->place, cluster_.network.etcd(), kLateRequest) &&
                           now() - cluster_.etcd.calm_since() > kLateRequest;
    // One whose key has expired cannot reach etcd: it could not lead either, and is rightly not asked.
    if (cluster_.etcd.find(Cluster::key("members/" + other->name.text())) == nullptr) continue;
    // Who is not synchronous cannot lead, and the last leader may hold what nobody was told of.
    if (sync &&
        (other->name == sync->leader || std::count(sync->standbys.begin(), sync->standbys.end(), other->name) == 0))
      continue;
    const bool more = common_records(other->disk.wal, chosen->disk.wal) == chosen->disk.wal.records.size() &&
                      other->disk.wal.records.size() > chosen->disk.wal.records.size();
    if (reachable && more) {
      broken(fmt::format("{} takes the lead although {} could be asked and has more WAL", winner, other->name.text()));
    }
  }
}

void Checker::streams_from(const Machine& standby, const Machine& upstream) {
  if (common_records(standby.disk.wal, upstream.disk.wal) == standby.disk.wal.records.size()) return;
  broken(fmt::format("{} streams from {} although their WAL has parted: its data is corrupt", standby.name.text(),
                     upstream.name.text()));
}

// The guard is the last line. An agent that is awake, on a machine that is not slow, never lets it come to that.
void Checker::guard_struck(const Machine& machine) {
  ++guard_kills;
  const bool awake = machine.agent_awake() && now() - machine.awake_since > std::chrono::seconds(3) &&
                     machine.weather.disk == 0ns && machine.weather.link_errors == 0;
  if (awake && machine.server->phase == Phase::Primary) {
    broken(fmt::format("the guard had to kill the server of {} although its agent was awake", machine.name.text()));
  }
}

void Checker::acknowledged(const Machine& machine, std::size_t index) {
  const auto number = machine.disk.wal.records[index].number;
  acknowledged_.push_back({number, machine.place, now()});
  if (!sync_in_force()) return;
  ++promises;
  promised_.push_back({index, number});
}

std::optional<SyncKey> Checker::sync_in_force() const {
  const auto* kv = cluster_.etcd.find(Cluster::key("sync"));
  if (kv == nullptr || cluster_.settings().synchronous_mode == SyncMode::Off) return std::nullopt;
  SyncKey key = dcs::parse_sync(kv->value);
  return key.leader.empty() ? std::nullopt : std::optional<SyncKey>(std::move(key));
}

void Checker::keep_promises(const Machine& machine) {
  const auto& records = machine.disk.wal.records;
  const auto lacks = [&records](const Promise& p) {
    return p.index >= records.size() || records[p.index].number != p.number;
  };
  // An operator may order the promotion of a member that is not synchronous.
  if (is_ordered(machine.name.text())) {
    std::erase_if(promised_, lacks);
    return;
  }
  const auto lost = std::count_if(promised_.begin(), promised_.end(), lacks);
  if (lost > 0) {
    broken(fmt::format("{} becomes primary without {} commits that were acknowledged as synchronous",
                       machine.name.text(), lost));
  }
}

// Poolers that obey a request of another than their leader would wait for nothing.
void Checker::asks_to_drain(const std::string& value) {
  ++drains;
  const auto request = dcs::parse_drain(value);
  const auto* leader = cluster_.etcd.find(Cluster::key("leader"));
  if (!request || leader == nullptr || leader->value != request->leader.text() ||
      leader->create_revision != Revision(request->term.value())) {
    broken("the poolers are asked to drain by a member that does not lead: " + value);
  }
}

void Checker::at_end() {
  if (const auto* drain = cluster_.etcd.find(Cluster::key("drain"))) {
    broken("nothing is under way and the poolers are still asked to drain: " + drain->value);
  }
  const Machine* primary = cluster_.primary();
  acknowledged_rows = acknowledged_.size();
  if (primary == nullptr) return;
  std::vector<std::uint64_t> present;
  for (const auto& record : primary->disk.wal.records) present.push_back(record.number);
  std::sort(present.begin(), present.end());
  for (const auto& row : acknowledged_) {
    if (std::binary_search(present.begin(), present.end(), row.number)) continue;
    ++lost_rows;
    cluster_.world.note("lost: row {}, acknowledged by {} at {:.4f}", row.number,
                        cluster_.machines[row.place]->name.text(), seconds_of(row.when.since_boot()));
  }
  if (lost_rows > 0 && !at_risk_ && !cluster_.network.parted()) {
    broken(fmt::format("{} acknowledged rows are lost although nothing but orders and delays happened", lost_rows));
  }
}

}  // namespace pgvigil::sim
