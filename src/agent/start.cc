// Operations that start and stop PostgreSQL.
#include <algorithm>

#include "agent/impl.h"

namespace pgvigil::agent {
namespace {

constexpr Duration kStandbyStart =
    std::chrono::hours(24);  // replay may take long; the agent never gives it up by itself
constexpr Duration kStopMax = std::chrono::seconds(60);

}  // namespace

postgres::RunAs Agent::Impl::as_primary() {
  postgres::RunAs run;
  run.synchronous_standby_names = sync_names_to_start_with();
  run.before_exec = [this](std::int64_t pid) -> Result<void> {
    // A restart that takes longer than shutting down waits for it would start what nobody watches any more.
    if (stop_requests_ > 0 && !settings().pause) {
      return fail(Errc::Refused, "PostgreSQL is not started as the leader", {}, "the agent is told to stop");
    }
    if (arm_guard(pid)) return {};
    return fail(Errc::Refused, "PostgreSQL is not started as the leader", {},
                "the guard could not be armed with a proven lease, or the required watchdog cannot be used");
  };
  return run;
}

Task<Result<void>> Agent::Impl::stop_server(postgres::StopMode mode) {
  const TimePoint deadline = now() + kStopMax;
  co_return co_await p.postgres.stop(mode, deadline, nullptr);
}

// In place, on the same timeline: the leader key is ours, so nobody else has led meanwhile.
Task<void> Agent::Impl::start_primary() {
  if (!lead_is_fresh()) co_return;  // the rules come back to it when the lease is confirmed
  if (wal_end_) {
    MemberName nobody;
    std::string reason = last_decision_.reason;
    tasks_.spawn(note_crash(*wal_end_, std::move(nobody), std::move(reason)));
    wal_end_sought_ = false;
    wal_end_.reset();
  }
  const Duration patience = std::max<Duration>(settings().primary_start_timeout, std::chrono::seconds(1));
  const TimePoint deadline = now() + patience;
  auto run = as_primary();
  auto done = co_await p.postgres.start(std::move(run), deadline);
  if (!done && guard_hiccup()) {
    // The guard's fault, and perhaps a short one: nothing says yet that another member would do better.
    co_await sleep_for(p.clock, kGuardPause);
    co_return;
  }
  if (!done) {
    start_failed_ = true;
    log.error("{}", done.error().message());
    co_return;
  }
  crashed_ = writes_stuck_ = false;
  start_failed_ = false;
  running_as_.reset();
  set_role(Role::Leader);
  log.info("PostgreSQL runs again as the leader");
  if (!callback_ran_) p.postgres.run_callback("on_start", "primary");
  callback_ran_ = true;
}

Task<void> Agent::Impl::start_standby(MemberName target) {
  const TimePoint deadline = now() + kStandbyStart;
  auto run = as_standby(target);
  running_as_ = run;
  const bool was_leader = role_ == Role::Demoted || role_ == Role::Leader;
  auto done = co_await p.postgres.start(std::move(run), deadline);
  if (!done) {
    start_failed_ = true;
    running_as_.reset();
    back_off(done.error());
    co_return;
  }
  retry_at_.reset();
  const bool leads = attached() && settings().standby_cluster.has_value();
  set_role(leads ? Role::StandbyLeader : Role::Replica);
  p.postgres.run_callback(was_leader && callback_ran_ ? "on_role_change" : "on_start",
                          leads ? "standby_leader" : "replica");
  callback_ran_ = true;
}

// etcd is away. A fast stop keeps everything that was acknowledged; the guard ends what takes too long.
Task<void> Agent::Impl::demote_offline() {
  const TimePoint deadline = leader_until().value_or(now() + settings().ttl / 6);
  log.warning("stopping PostgreSQL: the lead can no longer be proven to hold");
  auto done = co_await p.postgres.stop(postgres::StopMode::Fast, deadline, nullptr);
  if (!done) log.error("{}", done.error().message());
  running_as_.reset();
  set_role(Role::Demoted);
  p.postgres.run_callback("on_role_change", "demoted");
}

Task<void> Agent::Impl::demote_release() {
  auto done = co_await stop_server(postgres::StopMode::Immediate);
  if (!done) {
    log.error("{}", done.error().message());
    co_return;
  }
  co_await look();
  running_as_.reset();
  std::string reason = last_decision_.reason;
  co_await release_leader(std::move(reason));
}

Task<void> Agent::Impl::demote_cluster() {
  auto done = co_await stop_server(postgres::StopMode::Fast);
  if (!done) {
    log.error("{}", done.error().message());
    co_return;
  }
  running_as_.reset();
  rewind_ = RewindStage::Settled;
  set_role(Role::Demoted);
  MemberName nobody;
  co_await start_standby(std::move(nobody));
}

// By command, or because a setting needs it. A leader keeps its lease: the stop is a clean one.
Task<void> Agent::Impl::restart_server(RestartRequest request) {
  const bool primary = instance_.running_as_primary();
  if (primary) {
    const TimePoint checkpoint_deadline = now() + kStopMax;
    (void)co_await p.postgres.checkpoint(checkpoint_deadline);
    if (!co_await drain_poolers("restart")) {
      co_await end_drain();
      command_result_ = fail(Errc::Refused, "PostgreSQL was not restarted", {}, why_not_stopped());
      co_return;
    }
  }
  auto stopped = co_await stop_server(postgres::StopMode::Fast);
  if (!stopped) {
    command_result_ = tl::make_unexpected(stopped.error());
    log.error("{}", stopped.error().message());
    co_return;
  }
  // A primary whose lead was lost while it stopped must not come back as one; the rules decide what it becomes.
  if (primary && !settings().pause && !lead_is_fresh()) {
    command_result_ = fail(Errc::Refused, "PostgreSQL was not restarted", {}, "the lead can no longer be proven");
    co_return;
  }
  postgres::RunAs run;
  if (!primary) {
    run = running_as_.value_or(as_standby(view()->leader ? view()->leader->name : MemberName()));
  } else if (attached()) {
    run = as_primary();
  }
  const Duration patience = request.timeout.value_or(std::max<Duration>(settings().primary_start_timeout, kStopMax));
  const TimePoint deadline = now() + patience;
  auto started = co_await p.postgres.start(std::move(run), deadline);
  if (!started) {
    start_failed_ = primary && !guard_hiccup();
    log.error("{}", started.error().message());
  } else {
    p.postgres.run_callback("on_restart", primary ? "primary" : std::string(to_string(role_)));
    if (primary) co_await end_drain();
  }
  command_result_ = std::move(started);
}

}  // namespace pgvigil::agent
