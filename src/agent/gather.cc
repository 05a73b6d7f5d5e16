// What a decision rests on: configuration, the local server, the other members.
#include <algorithm>

#include "agent/impl.h"

namespace pgvigil::agent {
namespace {

constexpr Duration kObserveMax = std::chrono::seconds(3);
constexpr Duration kAskMin = std::chrono::milliseconds(500);
constexpr Duration kAskMax = std::chrono::seconds(2);

}  // namespace

Task<void> Agent::Impl::adopt_configuration() {
  const ViewPtr seen = view();
  if (local_reload_due_) {
    local_reload_due_ = false;
    if (auto done = p.node.reload_local(); !done) {
      log.error("the old configuration stays in force: {}", done.error().message());
    } else {
      log.info("configuration re-read");
      reload_due_ = true;
    }
  }
  if (seen->config && seen->config_revision != adopted_config_) {
    adopted_config_ = seen->config_revision;
    const std::string before = p.node.cached_config();
    auto changed = p.node.adopt_config(*seen->config);
    if (!changed) {
      log.error("the dynamic configuration stays as it was: {}", changed.error().message());
    } else {
      reload_due_ = reload_due_ || *changed;
      note_config_change(before);
    }
    lease_wake_.notify();  // ttl may have changed
  }
  const bool paused = seen->settings.pause;
  if (was_paused_ && !paused) {
    rewind_ = RewindStage::Due;
    running_as_.reset();
  }
  was_paused_ = paused;
  if (!reload_due_ || operation_ != Operation::None) co_return;
  if (instance_.postmaster != PostmasterState::Running) {
    reload_due_ = instance_.postmaster == PostmasterState::Starting;
    co_return;
  }
  reload_due_ = false;
  const TimePoint deadline = within(kObserveMax);
  auto done = co_await p.postgres.reload(deadline);
  if (!done) {
    log.error("{}", done.error().message());
  } else {
    p.postgres.run_callback("on_reload", std::string(to_string(role_)));
  }
}

Task<void> Agent::Impl::look() {
  const TimePoint deadline = within(kObserveMax);
  instance_ = co_await p.postgres.observe(deadline);
}

Task<void> Agent::Impl::observe() {
  const auto before = instance_.postmaster;
  co_await look();
  const TimePoint at = now();
  if (instance_.postmaster == PostmasterState::Starting) {
    if (!starting_since_) starting_since_ = at;
  } else {
    starting_since_.reset();
  }
  if (instance_.postmaster == PostmasterState::Stopped) {
    if (!stopped_since_) stopped_since_ = at;
  } else {
    stopped_since_.reset();
    wal_end_sought_ = false;
    wal_end_.reset();
  }
  if (instance_.postmaster == PostmasterState::Running) {
    crashed_ = false;
    crash_recovered_ = false;
    if (operation_ == Operation::None) start_failed_ = false;
    if (before != PostmasterState::Running) backoff_ = Duration::zero();
  }
  const ViewPtr seen = view();
  if (seen->revision.value() == 0 || seen->leader) {
    no_leader_since_.reset();
  } else if (!no_leader_since_) {
    no_leader_since_ = at;
  }
  note_member_slots();
  if (seen->leader) {
    former_leader_ = seen->leader->name;
    last_members_ = seen->members;
    if (const auto* leader = seen->leader_member(); leader != nullptr && leader->timeline.known()) {
      if (leader_timeline_.known() && leader->timeline > leader_timeline_ && leader->name != p.node.name()) {
        rewind_ = RewindStage::Due;
      }
      leader_timeline_ = leader->timeline;
    }
  }
  // By itself, at any moment; a guard that watches a standby tells that an earlier agent was about to promote it.
  const bool ends_recovery = role_ == Role::Promoted || (guard_adopted_ && guarded_pid_ == instance_.postmaster_pid);
  const bool may_write = instance_.postmaster != PostmasterState::Stopped && (!instance_.in_recovery || ends_recovery);
  if (guarded_pid_ != 0 && operation_ == Operation::None && !may_write) disarm_guard();
  // In maintenance mode nothing is stopped, not even by a lease that ends.
  if (guarded_pid_ != 0 && operation_ == Operation::None && settings().pause) disarm_guard();
  if (guarded_pid_ == 0) watchdog_failed_ = options.watchdog_usable && !options.watchdog_usable();
  // A primary that was adopted, or restarted by hand while paused, comes under the guard as soon as the key is ours.
  if (instance_.running_as_primary() && attached() && !settings().pause && guarded_pid_ != instance_.postmaster_pid &&
      operation_ == Operation::None) {
    (void)arm_guard(instance_.postmaster_pid);
  }
}

// One round of questions. Shared with the calls, which may end after the round was given up.
struct Agent::Impl::PeerRound {
  explicit PeerRound(Clock& clock) : done(clock) {}
  std::vector<PeerAnswer> answers;
  std::size_t open = 0;
  Signal done;
};

Task<void> Agent::Impl::ask_one(std::shared_ptr<PeerRound> round, std::size_t place, std::string url,
                                TimePoint deadline) {
  MemberName name = round->answers[place].name;
  auto answered = co_await p.peers.ask(std::move(name), std::move(url), deadline);
  if (answered) round->answers[place].report = *answered;
  if (--round->open == 0) round->done.notify();
}

Task<void> Agent::Impl::ask_peers() {
  // With the leader's lease its member key vanishes too: whoever was known before counts as well.
  const ViewPtr seen = view();
  std::vector<Member> members = seen->members;
  for (const auto& old : last_members_) {
    if (seen->member(old.name) == nullptr) members.push_back(old);
  }
  std::erase_if(members, [this](const Member& m) { return m.name == p.node.name() || m.api_url.empty(); });
  peers_.clear();
  peers_asked_ = true;
  if (members.empty()) co_return;
  const auto round = std::make_shared<PeerRound>(p.clock);
  round->answers.resize(members.size());
  round->open = members.size();
  const TimePoint deadline = within(std::clamp<Duration>(seen->settings.ttl / 5, kAskMin, kAskMax));
  for (std::size_t i = 0; i < members.size(); ++i) {
    round->answers[i].name = members[i].name;
    tasks_.spawn(ask_one(round, i, members[i].api_url, deadline));
  }
  const TimePoint patience = within(deadline + kAskMin - now());
  while (round->open > 0) {
    if (!co_await round->done.wait_until(patience)) break;
  }
  peers_ = round->answers;
}

LocalState Agent::Impl::local_state() {
  LocalState s;
  s.name = p.node.name();
  s.tags = p.node.tags();
  s.instance = instance_;
  s.role = role_;
  s.operation = operation_;
  s.wall = p.clock.wall();
  s.started = started_;
  s.first_step = first_step_;
  if (const auto proof = p.store.lease()) s.lease = proof->lease;
  s.lead_doubtful = lead_doubtful_;
  s.leader_until = leader_until();
  s.lead_ttl = lead_ttl();
  s.may_bootstrap = p.node.may_bootstrap();
  s.initialize_is_mine = initialize_is_mine_;
  s.clones_without_leader = p.node.clones_without_leader();
  s.retry_at = retry_at_;
  s.crashed = crashed_;
  s.start_failed = start_failed_;
  s.crash_recovered = crash_recovered_;
  s.wal_end_sought = wal_end_sought_;
  s.wal_end = wal_end_;
  s.sync_sample = sync_sample_;
  s.writes_stuck = writes_stuck_;
  s.failed_leader_until = failed_leader_until_;
  s.failsafe_until = promised_until();
  s.starting_since = starting_since_;
  s.stopped_since = stopped_since_;
  s.rewind = rewind_;
  s.can_rewind = settings().use_pg_rewind && p.postgres.can_rewind();
  s.rewind_reason = rewind_reason_;
  s.no_race_until = no_race_until_;
  s.watchdog_required = options.watchdog_required;
  s.watchdog_failed = watchdog_failed_;
  s.peers_asked = peers_asked_;
  s.peers = peers_;
  s.no_leader_since = no_leader_since_;
  s.former_leader = former_leader_;
  return s;
}

}  // namespace pgvigil::agent
