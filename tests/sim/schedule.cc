#include "schedule.h"

#include <algorithm>

#include "cluster.h"
#include "faults.h"

namespace pgvigil::sim {
namespace {

// After the faults: how long until somebody leads, beyond ttl, and until every replica streams from him. Slow starts,
// a copy that began before, and a failed pg_rewind or two fit into these.
constexpr Duration kLeaderBound = std::chrono::seconds(45);
constexpr Duration kWholeBound = std::chrono::seconds(120);
constexpr Duration kCommitBound = std::chrono::seconds(5);
constexpr unsigned kRewindTries = 5;  // the agent then waits for the operator unless it may remove the data

struct Plan {
  std::size_t machines = 3;
  std::string config;
  bool removable = false;  // a diverged data directory may be removed
  bool early_faults = false;
  bool bulk_writes = false;
  std::size_t poolers = 0;
  Duration fault_time{0};
  Duration write_every{0};
};

Plan make_plan(World& world) {
  Plan plan;
  plan.machines = world.chance(0.3) ? 2 : 3;
  static constexpr int kTtls[] = {3, 5, 5, 5, 8, 15, 30};
  const int ttl = kTtls[world.below(7)];
  const int rest = std::max(1, ttl / 3);
  plan.removable = world.chance(0.5);
  static constexpr int kStartTimeouts[] = {0, 5, 30, 300};
  const int start_timeout = kStartTimeouts[world.below(4)];
  static constexpr int kDrains[] = {0, 1, 5, 20};
  const long lag = world.chance(0.5) ? 1048576 : 100'000;
  const char* failsafe = world.chance(0.4) ? "true" : "false";
  static constexpr const char* kSyncModes[] = {"off", "off", "on", "quorum"};
  const std::string sync = fmt::format(
      R"("failsafe_mode":{},"synchronous_mode":"{}","synchronous_mode_strict":{},"synchronous_node_count":{},)",
      failsafe, kSyncModes[world.below(4)], world.chance(0.3) ? "true" : "false", 1 + world.below(2));
  plan.config = fmt::format(
      R"({{{}"ttl":{},"loop_wait":{},"retry_timeout":{},"maximum_lag_on_failover":{},"primary_start_timeout":{},)"
      R"("handover_timeout":{},"switchover_drain_timeout":{},"check_timeline":{},"postgresql":{{"use_pg_rewind":true,)"
      R"("remove_data_directory_on_rewind_failure":{},"remove_data_directory_on_diverged_timelines":{}}}}})",
      sync, ttl, rest, rest, lag, start_timeout, 2 + world.below(8), kDrains[world.below(4)],
      world.chance(0.3) ? "true" : "false", plan.removable, plan.removable);
  plan.early_faults = world.chance(0.2);
  plan.bulk_writes = world.chance(0.25);
  plan.poolers = world.below(3);
  plan.fault_time = world.between(10s, 30s) + std::chrono::seconds(ttl);
  plan.write_every = world.between(30ms, 300ms);
  return plan;
}

class Schedule {
 public:
  Schedule(std::uint64_t seed, const Rules& rules, bool trace)
      : world_(seed, trace),
        plan_(make_plan(world_)),
        cluster_(world_, rules, plan_.machines, plan_.config),
        faults_(cluster_) {}

  Outcome run() {
    world_.note("{} machines, {}", plan_.machines, plan_.config);
    cluster_.bulk_writes = plan_.bulk_writes;
    world_.on_step([this] { cluster_.checker.after_event(); });
    if (plan_.machines == 3 && world_.chance(0.3)) cluster_.machines[2]->tags.nofailover = true;
    if (plan_.machines == 3 && world_.chance(0.15)) {
      cluster_.machines[1]->tags.nosync = true;
      cluster_.machines[1]->tags.sync_priority = 0;
    }
    for (const auto& machine : cluster_.machines) {
      world_.after(world_.between(0ns, 3s), [m = machine.get()] { m->power_on(); });
      write_on(*machine);
    }
    cluster_.poolers.start(plan_.poolers);
    every_second();
    if (!plan_.early_faults) (void)run_until(now() + kWholeBound, [this] { return whole(); });
    if (!broken() && !plan_.early_faults && !whole()) cluster_.checker.broken("the cluster was not created in time");
    faults_.start();
    (void)run_until(now() + plan_.fault_time, [] { return false; });
    faults_.stop();
    recover();
    if (!broken()) cluster_.checker.at_end();
    return outcome();
  }

 private:
  [[nodiscard]] TimePoint now() const { return world_.now(); }
  [[nodiscard]] bool broken() const { return cluster_.checker.first_broken().has_value(); }

  bool run_until(TimePoint limit, const std::function<bool()>& done) {
    while (!broken() && world_.step(limit)) {
      if (done()) return true;
    }
    return false;
  }

  // A client that sits on the same machine, so that no partition keeps it from a server that should not accept writes.
  void write_on(Machine& machine) {
    world_.after(world_.between(plan_.write_every / 2, plan_.write_every * 3 / 2), [this, &machine] {
      machine.commit();
      write_on(machine);
    });
  }

  void every_second() {
    world_.after(1s, [this] {
      cluster_.checker.note_replicated();
      every_second();
    });
  }

  // What no agent may mend by itself: a rewind that failed again and again, and a directory of a cluster whose creation
  // was interrupted by a crash and completed by another member.
  [[nodiscard]] bool waits_for_operator(const Machine& machine, const Machine& primary) const {
    const bool foreign = machine.disk.present && machine.disk.system_id != primary.disk.system_id;
    return (!plan_.removable && machine.failed_rewinds >= kRewindTries) || (foreign && plan_.early_faults);
  }

  [[nodiscard]] bool anybody_waits_for_operator() const {
    const Machine* primary = cluster_.primary();
    return primary != nullptr && std::any_of(cluster_.machines.begin(), cluster_.machines.end(), [&](const auto& m) {
             return m.get() != primary && waits_for_operator(*m, *primary);
           });
  }

  [[nodiscard]] bool whole() const {
    const Machine* primary = cluster_.primary();
    if (primary == nullptr) return false;
    for (const auto& machine : cluster_.machines) {
      if (machine.get() == primary || waits_for_operator(*machine, *primary)) continue;
      const auto& server = machine->server;
      if (!server || !server->streaming || server->replaying || server->upstream_pid != primary->server->pid)
        return false;
      if (machine->disk.wal.timeline != primary->disk.wal.timeline) return false;
    }
    return true;
  }

  void recover() {
    if (broken()) return;
    const TimePoint healed = now();
    const Duration ttl = cluster_.settings().ttl;
    const auto led = [this] { return cluster_.primary() != nullptr; };
    if (!led() && !run_until(healed + ttl + kLeaderBound, led)) {
      if (!broken()) cluster_.checker.broken("nobody leads although the faults have ended");
      return;
    }
    until_leader_ = now() - healed;
    if (!whole() && !run_until(healed + ttl + kWholeBound, [this] { return whole(); })) {
      if (!broken())
        cluster_.checker.broken("a replica does not stream from the leader although the faults have ended");
      return;
    }
    until_whole_ = now() - healed;
    // Requests that were lost in the faults' last moments may still cost a lease; after that it stays whole.
    (void)run_until(healed + ttl * 2, [] { return false; });
    if (!whole() && !run_until(now() + kWholeBound, [this] { return whole(); })) {
      if (!broken()) cluster_.checker.broken("the cluster does not become whole again after the faults");
      return;
    }
    (void)run_until(now() + ttl, [] { return false; });
    // With the mode strict, commits wait for a member that waits for the operator.
    if (!broken() && whole() && !anybody_waits_for_operator() &&
        now() - cluster_.checker.last_acknowledged() > kCommitBound) {
      cluster_.checker.broken("the cluster is whole and commits are not acknowledged");
    }
    if (!broken() && !whole()) cluster_.checker.broken("the cluster was whole after the faults and did not stay so");
  }

  Outcome outcome() {
    const auto& checker = cluster_.checker;
    Outcome outcome;
    outcome.broken = checker.first_broken();
    outcome.broken_at = now();
    outcome.digest = world_.digest();
    auto& totals = outcome.totals;
    totals.schedules = 1;
    totals.events = world_.events();
    totals.faults = faults_.count();
    totals.promotions = checker.promotions;
    totals.acknowledged_rows = checker.acknowledged_rows;
    totals.lost_rows = checker.lost_rows;
    totals.guard_kills = checker.guard_kills;
    totals.crash_handovers = checker.crash_handovers;
    totals.promises = checker.promises;
    totals.failsafe_expiries = checker.failsafe_expiries;
    totals.drains = checker.drains;
    totals.virtual_time = now().since_boot();
    totals.until_leader = until_leader_;
    totals.until_whole = until_whole_;
    return outcome;
  }

  World world_;
  Plan plan_;
  Cluster cluster_;
  Faults faults_;
  Duration until_leader_{0}, until_whole_{0};
};

}  // namespace

void Totals::add(const Totals& other) {
  schedules += other.schedules;
  events += other.events;
  faults += other.faults;
  promotions += other.promotions;
  acknowledged_rows += other.acknowledged_rows;
  lost_rows += other.lost_rows;
  guard_kills += other.guard_kills;
  crash_handovers += other.crash_handovers;
  promises += other.promises;
  failsafe_expiries += other.failsafe_expiries;
  drains += other.drains;
  virtual_time += other.virtual_time;
  until_leader = std::max(until_leader, other.until_leader);
  until_whole = std::max(until_whole, other.until_whole);
}

Outcome run_schedule(std::uint64_t seed, const Rules& rules, bool trace) {
  Schedule schedule(seed, rules, trace);
  return schedule.run();
}

}  // namespace pgvigil::sim
