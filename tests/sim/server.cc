// What PostgreSQL and the guard do on a machine. PostgreSQL documentation, "Streaming Replication", "Timelines" and
// "Shutting Down the Server".
#include "agent_parts.h"
#include "cluster.h"
#include "machine.h"

namespace pgvigil::sim {
namespace {

constexpr Duration kStallPatience = std::chrono::seconds(4);

}  // namespace

void Machine::after_in_server(Duration wait, std::function<void()> call) {
  after(wait, [this, pid = server->pid, call = std::move(call)] {
    if (server && server->pid == pid) call();
  });
}

bool Machine::answers() const {
  if (!up() || !server) return false;
  switch (server->phase) {
    case Phase::Primary:
    case Phase::Promoting: return true;
    case Phase::Standby: return !server->replaying;
    default: return false;
  }
}

std::int64_t Machine::start_server(bool standby, std::optional<std::size_t> upstream, Duration takes) {
  const auto pid = static_cast<std::int64_t>(cluster_.next_number());
  server = Server();
  stopped_cleanly = false;
  server->pid = pid;
  at_ease_since = world_.now();
  server->recovery = standby;
  server->upstream = upstream;
  disk.standby_signal = standby;
  server->sync = ha::parse_sync_names(disk.sync_names);
  world_.note("{}: PostgreSQL starts as a {}, pid {}, WAL up to {} on timeline {}", name.text(),
              standby ? "standby" : "primary", pid, to_string(disk.wal.end()), disk.wal.timeline.value());
  after_in_server(takes, [this] { become_ready(); });
  return pid;
}

void Machine::become_ready() {
  if (server->phase != Phase::Starting) return;
  at_ease_since = world_.now();
  if (server->recovery) {
    server->phase = Phase::Standby;
    server->replaying = disk.wal.end() < disk.min_recovery_end;
    disk.state = ControlState::InArchiveRecovery;
    plan_connect(world_.between(5ms, 100ms));
    return;
  }
  const bool clean = disk.state == ControlState::ShutDown;
  disk.state = ControlState::InProduction;
  if (!clean) write_checkpoint();
  server->phase = Phase::Primary;
  cluster_.checker.becomes_primary(*this, false);
}

void Machine::write_checkpoint() {
  disk.checkpoint = disk.wal.append(cluster_.next_number(), kCheckpointBytes);
  disk.checkpoint_timeline = disk.wal.timeline;
  wake_receivers();
}

void Machine::commit() {
  if (!writable() || weather.disk_stuck) return;
  std::uint64_t bytes = world_.chance(0.02) ? 20'000 + world_.below(150'000) : 80 + 8 * world_.below(20);
  if (cluster_.bulk_writes && world_.chance(0.1)) bytes = (5U << 20U) + world_.below(60U << 20U);
  (void)disk.wal.append(cluster_.next_number(), bytes);
  server->waiting.push_back({disk.wal.records.size() - 1, disk.wal.end()});
  acknowledge_waiting();
  wake_receivers();
}

// --- synchronous replication ---

std::vector<const Machine*> Machine::receivers() const {
  std::vector<const Machine*> all;
  for (const auto& other : cluster_.machines) {
    const auto& standby = other->server;
    if (server && standby && standby->streaming && standby->upstream_pid == server->pid) all.push_back(other.get());
  }
  return all;
}

std::string Machine::sync_state_of(const Machine& standby) const {
  const ha::SyncNames& sync = server->sync;
  const auto listed = [&sync](const Machine& m) {
    return sync.count > 0 && (sync.anybody || std::count(sync.names.begin(), sync.names.end(), m.name) > 0);
  };
  if (!listed(standby)) return "async";
  if (sync.quorum) return "quorum";
  std::uint32_t before = 0;
  for (const auto* other : receivers()) {
    if (other == &standby) break;
    if (listed(*other)) ++before;
  }
  return before < sync.count ? "sync" : "potential";
}

bool Machine::is_replicated(Lsn end) const {
  const ha::SyncNames& sync = server->sync;
  std::uint32_t have = 0;
  for (const auto* standby : receivers()) {
    const std::string state = sync_state_of(*standby);
    if ((state == "sync" || state == "quorum") && standby->disk.wal.end() >= end) ++have;
  }
  return have >= sync.count;
}

void Machine::acknowledge_waiting() {
  while (writable() && !server->waiting.empty() && is_replicated(server->waiting.front().end)) {
    const auto index = server->waiting.front().index;
    server->waiting.pop_front();
    cluster_.checker.acknowledged(*this, index);
  }
}

void Machine::reload_sync_names() {
  const Duration takes = world_.chance(0.8) ? world_.between(1ms, 50ms) : world_.between(50ms, 1900ms);
  after_in_server(takes, [this] {
    server->sync = ha::parse_sync_names(disk.sync_names);
    acknowledge_waiting();
  });
}

void Machine::promote(Duration takes) {
  if (!server || server->phase != Phase::Standby) return;
  server->phase = Phase::Promoting;
  server->streaming = false;
  after_in_server(takes, [this] {
    if (server->phase != Phase::Promoting) return;
    disk.wal.begin_timeline();
    (void)disk.wal.append(cluster_.next_number(), kCheckpointBytes);
    disk.standby_signal = false;
    disk.state = ControlState::InProduction;
    disk.min_recovery_end = disk.wal.end();
    server->phase = Phase::Primary;
    server->recovery = false;
    server->sync = ha::parse_sync_names(disk.sync_names);
    world_.note("{}: PostgreSQL is promoted to timeline {} at {}", name.text(), disk.wal.timeline.value(),
                to_string(disk.wal.end()));
    cluster_.checker.becomes_primary(*this, true);
    wake_receivers();
  });
}

void Machine::fast_stop() {
  if (!server || server->phase == Phase::Stopping) return;
  const Phase before = server->phase;
  server->phase = Phase::Stopping;
  server->streaming = false;
  world_.note("{}: PostgreSQL is told to stop", name.text());
  if (before != Phase::Primary) {
    after_in_server(disk_time(5ms, 200ms), [this, before] {
      if (before == Phase::Standby && !server->replaying) {
        disk.state = ControlState::ShutDownInRecovery;
        disk.min_recovery_end = disk.wal.end();
      }
      end_server("stopped");
    });
    return;
  }
  after_in_server(disk_time(10ms, 400ms), [this] {
    write_checkpoint();
    disk.state = ControlState::ShutDown;
    stopped_cleanly = true;
    finish_fast_stop();
  });
}

// The walsenders stay until their receivers have everything, the shutdown checkpoint included.
void Machine::finish_fast_stop() {
  for (const auto& other : cluster_.machines) {
    const auto& standby = other->server;
    if (!standby || !standby->streaming || standby->upstream_pid != server->pid) continue;
    if (other->disk.wal.end() < disk.wal.end()) return after_in_server(10ms, [this] { finish_fast_stop(); });
  }
  end_server("stopped");
}

void Machine::kill_server(const char* why) {
  if (!server) return;
  cluster_.checker.data_is_at_risk();
  end_server(why);
}

void Machine::die() {
  if (server) end_server("killed");
}

void Machine::end_server(const char* why) {
  const auto pid = server->pid;
  world_.note("{}: PostgreSQL {} has ended: {}", name.text(), pid, why);
  server.reset();
  for (const auto& other : cluster_.machines) {
    if (!other->server || !other->server->streaming || other->server->upstream_pid != pid) continue;
    const bool noticed = powered_ && cluster_.network.connected(place, other->place);
    other->lose_stream(pid, noticed ? world_.between(1ms, 30ms) : world_.between(1s, 8s));
  }
  if (agent_) agent_->server_ended();
}

// --- the receiving side of replication ---

void Machine::set_upstream(std::optional<std::size_t> upstream) {
  if (!server) return;
  server->upstream = upstream;
  server->streaming = false;
  plan_connect(world_.between(5ms, 60ms));
}

void Machine::plan_connect(Duration wait) {
  if (!server || server->connect_due) return;
  server->connect_due = true;
  after_in_server(wait, [this] {
    server->connect_due = false;
    connect();
  });
}

void Machine::connect() {
  if (server->phase != Phase::Standby || !server->upstream || server->streaming) return;
  const Machine& up = *cluster_.machines[*server->upstream];
  const bool reachable = up.up() && up.server && cluster_.network.connected(place, up.place) &&
                         (up.answers() || up.server->phase == Phase::Stopping);
  if (!reachable || up.disk.system_id != disk.system_id) return plan_connect(world_.between(300ms, 3s));
  const Wal& theirs = up.disk.wal;
  const Wal& mine = disk.wal;
  bool fits = mine.end() <= theirs.end();
  if (mine.timeline != theirs.timeline) {
    const Lsn left = theirs.left_at(mine.timeline);
    fits = left.known() && mine.end() <= left;
  }
  if (!fits) return plan_connect(world_.between(1s, 5s));
  cluster_.checker.streams_from(*this, up);
  server->streaming = true;
  server->has_streamed = true;
  server->upstream_pid = up.server->pid;
  server->stalled_since.reset();
  disk.wal.newest = std::max(disk.wal.newest, theirs.newest);
  world_.note("{}: streams from {} at {}", name.text(), up.name.text(), to_string(mine.end()));
  plan_pump();
}

void Machine::lose_stream(std::int64_t upstream_pid, Duration wait) {
  after(wait, [this, upstream_pid] {
    if (!server || !server->streaming || server->upstream_pid != upstream_pid) return;
    server->streaming = false;
    plan_connect(world_.between(50ms, 3s));
  });
}

void Machine::plan_pump() {
  if (!server || server->pump_due) return;
  const Duration lag = weather.stream > 0ns ? world_.between(0ns, weather.stream) : 0ns;
  pump_after(cluster_.network.latency() + lag);
}

void Machine::pump_after(Duration wait) {
  server->pump_due = true;
  after_in_server(wait, [this] {
    server->pump_due = false;
    pump();
  });
}

void Machine::pump() {
  if (!server->streaming || server->phase != Phase::Standby) return;
  const Machine& up = *cluster_.machines[*server->upstream];
  if (!up.server || up.server->pid != server->upstream_pid) return;  // lose_stream() is on its way
  if (!up.up() || !cluster_.network.connected(place, up.place)) {
    if (!server->stalled_since) server->stalled_since = world_.now();
    if (world_.now() - *server->stalled_since > kStallPatience) return lose_stream(server->upstream_pid, 0ns);
    return pump_after(200ms);
  }
  server->stalled_since.reset();
  const Wal& theirs = up.disk.wal;
  Wal& mine = disk.wal;
  if (mine.records.size() >= theirs.records.size()) return;
  at_ease_since = world_.now();
  mine.records.insert(mine.records.end(), theirs.records.begin() + static_cast<std::ptrdiff_t>(mine.records.size()),
                      theirs.records.end());
  mine.history = theirs.history;
  mine.timeline = theirs.timeline;
  mine.newest = std::max(mine.newest, theirs.newest);
  if (server->replaying && mine.end() >= disk.min_recovery_end) server->replaying = false;
  // The control file follows from time to time.
  if (!server->replaying && world_.chance(0.2)) disk.min_recovery_end = mine.end();
  if (up.disk.checkpoint <= mine.end() && up.disk.checkpoint_timeline == mine.timeline) {
    disk.checkpoint = up.disk.checkpoint;
    disk.checkpoint_timeline = up.disk.checkpoint_timeline;
  }
  cluster_.machines[*server->upstream]->acknowledge_waiting();
  wake_receivers();
}

void Machine::wake_receivers() {
  if (!server) return;
  for (const auto& other : cluster_.machines) {
    if (other->server && other->server->streaming && other->server->upstream_pid == server->pid) other->plan_pump();
  }
}

// --- the guard ---

Result<void> Machine::arm(TimePoint deadline, std::int64_t pid) {
  if (local_now() >= deadline) return fail(Errc::Refused, "the guard is not armed", {}, "the deadline has passed");
  guard.pid = pid;
  guard.deadline = deadline;
  ++guard.armed;
  if (server && server->pid == pid) server->being_created = false;
  const Duration wait = clock.true_time(deadline) - world_.now() + cluster_.rules.guard_late;
  after(wait, [this, armed = guard.armed] {
    if (armed == guard.armed) check_guard();
  });
  return {};
}

void Machine::disarm() {
  guard.pid = 0;
  ++guard.armed;
}

void Machine::check_guard() {
  if (guard.pid == 0 || local_now() < guard.deadline + cluster_.rules.guard_late) return;
  if (!cluster_.rules.guard_strikes) return;
  const auto pid = guard.pid;
  guard.pid = 0;
  ++guard.armed;
  if (!server || server->pid != pid) return;
  ++guard.kills;
  cluster_.checker.guard_struck(*this);
  kill_server("killed by the guard");
}

}  // namespace pgvigil::sim
