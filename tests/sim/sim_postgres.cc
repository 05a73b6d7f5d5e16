#include "sim_postgres.h"

#include <algorithm>

#include "agent_parts.h"
#include "cluster.h"
#include "machine.h"
#include "postgres/rewind.h"

namespace pgvigil::sim {
namespace {

using postgres::RewindVerdict;

constexpr Duration kPoll = std::chrono::milliseconds(20);
constexpr Duration kPiece = std::chrono::milliseconds(250);
constexpr Duration kReadableGrace = std::chrono::seconds(1);

// How long crash recovery takes, at 80 MB a second.
Duration to_replay(const Disk& disk) {
  return std::chrono::milliseconds((disk.wal.end().value() - disk.checkpoint.value()) / 80'000);
}

Error cancelled(const char* what) { return Error{Errc::Cancelled, what, {}, "given up by order", {}}; }

}  // namespace

SimPostgres::SimPostgres(Cluster& cluster, Machine& machine, Clock& clock)
    : cluster_(cluster), machine_(machine), clock_(clock) {}

void SimPostgres::server_ended() {
  const bool expected = std::exchange(exit_expected_, false);
  machine_.agent()->process->deliver([this, expected] {
    if (exit_handler_) exit_handler_(expected);
  });
}

Task<bool> SimPostgres::work(Duration length, std::uint64_t action) {
  const TimePoint end = clock_.now() + length;
  while (clock_.now() < end) {
    const TimePoint next = std::min(end, clock_.now() + kPiece);
    co_await sleep_until(clock_, next);
    if (action != action_) co_return false;
  }
  co_return action == action_;
}

std::optional<std::size_t> SimPostgres::place_of(const std::optional<postgres::Upstream>& upstream) const {
  if (!upstream) return std::nullopt;
  const Machine* peer = cluster_.find(upstream->member.text());
  return peer != nullptr ? std::optional(peer->place) : std::nullopt;
}

Machine* SimPostgres::reachable_source(const std::optional<postgres::Upstream>& upstream) const {
  const auto place = place_of(upstream);
  if (!place) return nullptr;
  Machine& source = *cluster_.machines[*place];
  return source.answers() && cluster_.network.connected(machine_.place, *place) ? &source : nullptr;
}

// --- looking ---

DataDirectory SimPostgres::data_directory() {
  return machine_.disk.present ? DataDirectory::Present : DataDirectory::Empty;
}

Result<ControlData> SimPostgres::control_data() {
  const Disk& disk = machine_.disk;
  if (!disk.present) return fail(Errc::NotFound, "there is no control file");
  ControlData control;
  control.state = disk.state;
  control.system_id = disk.system_id;
  control.timeline = disk.checkpoint_timeline;
  control.checkpoint = disk.checkpoint;
  control.redo = disk.checkpoint;
  control.min_recovery_end = disk.min_recovery_end;
  control.min_recovery_timeline = disk.checkpoint_timeline;
  control.wal_log_hints = true;
  return control;
}

void SimPostgres::fill_running(Instance& instance) const {
  const auto& server = *machine_.server;
  const Disk& disk = machine_.disk;
  instance.server_version = 150000;
  instance.synchronous_standby_names = disk.sync_names;
  instance.in_recovery = server.recovery;
  instance.timeline = disk.wal.timeline;
  if (server.recovery) {
    instance.replayed = disk.wal.end();
    if (server.has_streamed) instance.received = disk.wal.end();
    if (server.streaming) instance.replication_state = "streaming";
  } else {
    instance.flushed = disk.wal.end();
  }
  for (const auto& other : cluster_.machines) {
    if (!other->server || !other->server->streaming || other->server->upstream_pid != server.pid) continue;
    WalSender sender;
    sender.application_name = other->name.text();
    sender.state = "streaming";
    sender.sent = sender.written = sender.flushed = sender.replayed = other->disk.wal.end();
    sender.sync_state = machine_.sync_state_of(*other);
    instance.wal_senders.push_back(std::move(sender));
  }
  for (const auto& name : disk.slots) {
    ReplicationSlot slot;
    slot.name = name;
    slot.restart = disk.wal.end();
    instance.slots.push_back(std::move(slot));
  }
}

Task<Instance> SimPostgres::observe(TimePoint deadline) {
  const TimePoint began = clock_.now();
  const TimePoint answered = began + machine_.disk_time(300us, 3ms);
  co_await sleep_until(clock_, std::min(answered, deadline));
  Instance instance;
  instance.observed = began;
  instance.data_directory = data_directory();
  const Disk& disk = machine_.disk;
  if (!disk.present) co_return instance;
  instance.standby_configured = disk.standby_signal;
  instance.half_rewound = disk.half_rewound;
  instance.system_id = disk.system_id;
  instance.timeline = disk.checkpoint_timeline;
  instance.control = *control_data();
  if (!machine_.server) co_return instance;
  const auto& server = *machine_.server;
  instance.postmaster_pid = server.pid;
  if (answered > deadline) {
    instance.postmaster = PostmasterState::Unresponsive;
  } else if (server.phase == Phase::Starting || server.replaying) {
    instance.postmaster = PostmasterState::Starting;
  } else if (server.phase == Phase::Stopping) {
    instance.postmaster = PostmasterState::Unresponsive;
  } else {
    instance.postmaster = PostmasterState::Running;
    fill_running(instance);
  }
  co_return instance;
}

// --- filling the data directory ---

Task<Result<void>> SimPostgres::bootstrap(postgres::Progress) {
  const auto action = ++action_;
  const Duration takes = machine_.disk_time(300ms, 2s);
  if (!co_await work(takes, action)) co_return tl::make_unexpected(cancelled("initdb"));
  if (cluster_.world.chance(0.03)) co_return fail(Errc::Failed, "initdb has failed");
  Disk& disk = machine_.disk;
  disk = Disk();
  disk.present = true;
  disk.system_id = SystemId(std::to_string(7'000'000'000'000'000'000ULL + cluster_.next_number()));
  disk.state = ControlState::ShutDown;
  (void)disk.wal.append(cluster_.next_number(), 5'000);
  const Duration start_takes = machine_.disk_time(20ms, 200ms);
  machine_.start_server(false, std::nullopt, start_takes);
  machine_.server->being_created = true;
  const auto pid = machine_.server->pid;
  while (machine_.server && machine_.server->pid == pid && machine_.server->phase == Phase::Starting) {
    co_await sleep_for(clock_, kPoll);
  }
  if (!machine_.server || machine_.server->pid != pid) co_return fail(Errc::Failed, "the new server has ended");
  co_return Result<void>();
}

Task<Result<void>> SimPostgres::clone(std::optional<postgres::Upstream> upstream, bool, postgres::Progress) {
  const auto action = ++action_;
  const auto unreachable = fail(Errc::Unavailable, "pg_basebackup has failed", {}, "no connection");
  Machine* source = reachable_source(upstream);
  if (source == nullptr) {
    co_await sleep_for(clock_, 200ms);
    co_return unreachable;
  }
  const auto pid = source->server->pid;
  const Duration takes = machine_.disk_time(200ms, 3s);
  if (!co_await work(takes, action)) co_return tl::make_unexpected(cancelled("pg_basebackup"));
  if (reachable_source(upstream) != source || source->server->pid != pid) co_return unreachable;
  Disk& disk = machine_.disk;
  const std::string cached = disk.cached_config;
  disk = source->disk;
  disk.cached_config = cached;
  disk.standby_signal = true;
  disk.slots.clear();
  disk.sync_names.clear();
  disk.state = ControlState::InProduction;
  disk.min_recovery_end = disk.wal.end();
  cluster_.world.note("{}: copied {} up to {}", machine_.name.text(), source->name.text(), to_string(disk.wal.end()));
  co_return Result<void>();
}

Result<void> SimPostgres::set_aside_data_directory() {
  if (machine_.server) return fail(Errc::Refused, "PostgreSQL runs in the data directory");
  machine_.disk = Disk();
  return {};
}

Task<Result<void>> SimPostgres::remove_data_directory() {
  if (machine_.server) co_return fail(Errc::Refused, "PostgreSQL runs in the data directory");
  const std::string cached = machine_.disk.cached_config;
  machine_.disk = Disk();
  machine_.disk.cached_config = cached;
  machine_.failed_rewinds = 0;
  co_return Result<void>();
}

// --- starting and stopping ---

Task<Result<void>> SimPostgres::start(postgres::RunAs run, TimePoint deadline) {
  const auto action = ++action_;
  if (machine_.server) co_return fail(Errc::Failed, "PostgreSQL is not started", {}, "it runs already");
  if (machine_.disk.half_rewound) co_return fail(Errc::Refused, "PostgreSQL is not started", {}, "half rewound");
  const bool recovers = machine_.disk.state == ControlState::InProduction;
  Duration takes = machine_.disk_time(30ms, 200ms);
  if (recovers) takes += machine_.disk_time(50ms, 800ms) + to_replay(machine_.disk);
  exit_expected_ = false;
  machine_.disk.sync_names = run.synchronous_standby_names.value_or("");
  const auto pid = machine_.start_server(run.standby, place_of(run.upstream), takes);
  if (run.before_exec && cluster_.rules.guard_before_exec) {
    if (auto permitted = run.before_exec(pid); !permitted) {
      exit_expected_ = true;
      machine_.kill_server("not permitted to start");
      co_return permitted;
    }
  }
  std::optional<TimePoint> replaying_since;
  for (;;) {
    if (!machine_.server || machine_.server->pid != pid)
      co_return fail(Errc::Failed, "PostgreSQL ended while it started");
    const auto& server = *machine_.server;
    if (server.phase != Phase::Starting && !server.replaying) co_return Result<void>();
    if (action != action_) {
      kill_now();
      co_return tl::make_unexpected(cancelled("the start"));
    }
    if (server.replaying && !replaying_since) replaying_since = clock_.now();
    if (replaying_since && clock_.now() - *replaying_since >= kReadableGrace) co_return Result<void>();
    if (clock_.now() >= deadline) co_return fail(Errc::Timeout, "PostgreSQL is still starting");
    co_await sleep_for(clock_, kPoll);
  }
}

Task<bool> SimPostgres::wait_end(std::int64_t pid, TimePoint deadline, const std::function<void()>& each) {
  for (;;) {
    each();
    if (!machine_.server || machine_.server->pid != pid) co_return true;
    if (clock_.now() >= deadline) co_return false;
    const TimePoint next = std::min(deadline, clock_.now() + kPoll);
    co_await sleep_until(clock_, next);
  }
}

Task<Result<void>> SimPostgres::stop(postgres::StopMode mode, TimePoint deadline,
                                     std::function<void(Lsn)> checkpoint_done) {
  if (!machine_.server) co_return Result<void>();
  const auto pid = machine_.server->pid;
  exit_expected_ = true;
  if (mode == postgres::StopMode::Immediate) {
    const Duration takes = cluster_.world.between(2ms, 60ms);
    co_await sleep_for(clock_, takes);
    if (machine_.server && machine_.server->pid == pid) machine_.kill_server("stopped at once");
    co_return Result<void>();
  }
  machine_.fast_stop();
  bool told = !checkpoint_done;
  const std::function<void()> each = [this, &told, &checkpoint_done] {
    if (told || machine_.disk.state != ControlState::ShutDown) return;
    told = true;
    const Lsn start = machine_.disk.checkpoint;
    checkpoint_done(cluster_.rules.checkpoint_tells_start ? start : Lsn(start.value() - 100'000));
  };
  if (!co_await wait_end(pid, deadline, each) && machine_.server && machine_.server->pid == pid) {
    machine_.kill_server("did not stop in time");
  }
  co_return Result<void>();
}

void SimPostgres::kill_now() {
  if (!machine_.server) return;
  exit_expected_ = true;
  machine_.kill_server("killed by the agent");
}

Task<Result<void>> SimPostgres::promote(Timeline taken, TimePoint) {
  if (!machine_.answers()) co_return fail(Errc::Unavailable, "cannot promote PostgreSQL", {}, "it does not answer");
  if (!machine_.server->recovery) co_return fail(Errc::Refused, "cannot promote PostgreSQL", {}, "not in recovery");
  if (cluster_.rules.timelines_reserved) machine_.disk.wal.newest = std::max(machine_.disk.wal.newest, taken);
  const Duration slow = cluster_.slow_promotions ? cluster_.world.between(1s, 12s) : 0ns;
  machine_.promote(slow + machine_.disk_time(10ms, 150ms));
  co_return Result<void>();
}

Task<Result<void>> SimPostgres::checkpoint(TimePoint deadline) {
  if (!machine_.answers()) co_return fail(Errc::Unavailable, "cannot write a checkpoint", {}, "no connection");
  const auto pid = machine_.server->pid;
  while (machine_.weather.disk_stuck && clock_.now() < deadline) co_await sleep_for(clock_, kPiece);
  const TimePoint done = clock_.now() + machine_.disk_time(5ms, 300ms);
  co_await sleep_until(clock_, std::min(done, deadline));
  if (done > deadline) co_return fail(Errc::Timeout, "the checkpoint takes too long");
  if (!machine_.answers() || machine_.server->pid != pid) co_return fail(Errc::Failed, "the connection broke");
  if (!machine_.server->recovery) machine_.write_checkpoint();
  co_return Result<void>();
}

Task<Result<bool>> SimPostgres::reconfigure(postgres::RunAs run, TimePoint) {
  const Duration takes = machine_.disk_time(1ms, 10ms);
  co_await sleep_for(clock_, takes);
  if (!machine_.server) co_return fail(Errc::Unavailable, "cannot reconfigure PostgreSQL", {}, "it does not run");
  const bool recovery = machine_.server->recovery;
  if (recovery != run.standby) {
    if (recovery) co_return fail(Errc::Refused, "it is still in recovery");
    co_return true;
  }
  if (recovery && !machine_.disk.standby_signal) co_return true;
  machine_.disk.sync_names = run.synchronous_standby_names.value_or("");
  machine_.reload_sync_names();
  if (run.standby) machine_.set_upstream(place_of(run.upstream));
  co_return false;
}

Task<Result<void>> SimPostgres::reload(TimePoint) { co_return Result<void>(); }

Task<Result<void>> SimPostgres::pre_promote(TimePoint) { co_return Result<void>(); }

Task<Result<void>> SimPostgres::sync_slots(SlotPlan plan, TimePoint) {
  auto& slots = machine_.disk.slots;
  if (plan.drop_others) slots.clear();
  slots.insert(plan.physical.begin(), plan.physical.end());
  co_return Result<void>();
}

// --- histories ---

Task<Result<postgres::LeaderHistory>> SimPostgres::ask_leader(postgres::Upstream leader, TimePoint deadline) {
  const Duration takes = cluster_.network.latency() * 4;
  co_await sleep_for(clock_, takes);
  std::optional<postgres::Upstream> upstream = std::move(leader);
  const Machine* source = reachable_source(upstream);
  if (source == nullptr) {
    if (cluster_.world.chance(0.5)) co_await sleep_until(clock_, deadline);
    co_return fail(Errc::Unavailable, "cannot ask the leader for its history");
  }
  co_return postgres::LeaderHistory{source->disk.system_id, source->disk.wal.timeline, source->disk.wal.history,
                                    source->server->recovery};
}

Task<Result<std::vector<postgres::TimelineSwitch>>> SimPostgres::local_history(Timeline, TimePoint) {
  co_return machine_.disk.wal.history;
}

Task<RewindVerdict> SimPostgres::rewind_needed(postgres::LeaderHistory leader, TimePoint) {
  const Duration takes = machine_.disk_time(1ms, 20ms);
  co_await sleep_for(clock_, takes);
  RewindVerdict unknown;
  unknown.reason = "not known";
  const Disk& disk = machine_.disk;
  if (!disk.present || leader.system_id != disk.system_id) co_return unknown;
  postgres::LocalEnd local;
  if (machine_.server) {
    if (machine_.server->phase == Phase::Starting || machine_.server->replaying) {
      co_return postgres::compare_while_starting(*control_data(), leader);
    }
    if (!machine_.answers() || !machine_.server->recovery) co_return unknown;
    local = {disk.wal.timeline, disk.wal.end(), false, {}};
  } else {
    const auto end = postgres::local_end(*control_data());
    if (!end) co_return unknown;
    local = *end;
    if (local.as_primary && disk.state == ControlState::ShutDown) {
      local.record_end = Lsn(local.position.value() + kCheckpointBytes);
    }
  }
  co_return postgres::compare_histories(local, leader);
}

Task<Result<void>> SimPostgres::rewind(postgres::Upstream leader, postgres::Progress) {
  const auto action = ++action_;
  std::optional<postgres::Upstream> upstream = std::move(leader);
  const auto broken = [this](const char* why) {
    ++machine_.failed_rewinds;
    return fail(Errc::Failed, "pg_rewind has failed", {}, why);
  };
  if (machine_.server) co_return fail(Errc::Refused, "PostgreSQL runs");
  const Machine* source = reachable_source(upstream);
  if (source == nullptr) co_return broken("no connection");
  const auto pid = source->server->pid;
  Disk& disk = machine_.disk;
  if (!cluster_.rules.rewind_works) co_return Result<void>();
  // pg_rewind compares the timelines of the two control files and nothing else before it decides that it has no work.
  if (source->disk.checkpoint_timeline == disk.checkpoint_timeline && !disk.half_rewound) co_return Result<void>();
  const Duration takes = machine_.disk_time(100ms, 2s);
  const Duration first = takes / 3;
  if (!co_await work(first, action)) co_return tl::make_unexpected(cancelled("pg_rewind"));
  disk.half_rewound = true;
  const bool finished = co_await work(takes - first, action);
  if (!finished) co_return tl::make_unexpected(cancelled("pg_rewind"));
  if (reachable_source(upstream) != source || source->server->pid != pid) co_return broken("the connection broke");
  if (cluster_.world.chance(0.05)) co_return broken("a file changed under it");
  const Wal& theirs = source->disk.wal;
  disk.wal.cut_back_to(theirs);
  disk.half_rewound = false;
  disk.standby_signal = true;
  disk.state = ControlState::InArchiveRecovery;
  disk.checkpoint_timeline = source->disk.checkpoint_timeline;
  disk.checkpoint = source->disk.checkpoint;
  disk.min_recovery_end = theirs.end();
  machine_.failed_rewinds = 0;
  cluster_.world.note("{}: rewound to {}, consistent from {}", machine_.name.text(), to_string(disk.wal.end()),
                      to_string(disk.min_recovery_end));
  co_return Result<void>();
}

Task<Result<void>> SimPostgres::probe_writes(TimePoint deadline) {
  while (machine_.weather.disk_stuck) {
    if (clock_.now() >= deadline) co_return fail(Errc::Timeout, "the disk takes no writes");
    co_await sleep_for(clock_, kPoll);
  }
  co_return Result<void>();
}

Task<Result<WalEnd>> SimPostgres::find_wal_end(TimePoint) {
  const auto action = ++action_;
  const Disk& disk = machine_.disk;
  const Duration takes = machine_.disk_time(1ms, 20ms) + to_replay(disk) / 20;
  if (!co_await work(takes, action)) co_return tl::make_unexpected(cancelled("reading the WAL"));
  if (machine_.server) co_return fail(Errc::Refused, "PostgreSQL runs");
  if (cluster_.world.chance(0.02)) co_return fail(Errc::NotFound, "a segment cannot be read");
  const Lsn end = cluster_.rules.wal_read_to_its_end
                      ? disk.wal.end()
                      : std::min(disk.wal.end(), Lsn(disk.checkpoint.value() + (64U << 20U)));
  co_return WalEnd{disk.wal.timeline, disk.checkpoint, end};
}

Task<Result<void>> SimPostgres::crash_recover(TimePoint) {
  const auto action = ++action_;
  const Duration takes = machine_.disk_time(50ms, 1500ms);
  if (!co_await work(takes, action)) co_return tl::make_unexpected(cancelled("crash recovery"));
  Disk& disk = machine_.disk;
  if (machine_.server || !disk.present || disk.half_rewound) co_return fail(Errc::Failed, "crash recovery has failed");
  machine_.write_checkpoint();
  disk.state = ControlState::ShutDown;
  disk.standby_signal = false;
  co_return Result<void>();
}

}  // namespace pgvigil::sim
