// Carries one decision out. What takes long goes into the background; what etcd has to compare is awaited.
#include <algorithm>

#include "agent/impl.h"

namespace pgvigil::agent {
namespace {

constexpr Duration kBackoffFirst = std::chrono::milliseconds(500);
constexpr Duration kProbePause = std::chrono::minutes(1);  // without a successor the leader goes on for a while
constexpr Duration kCompareAgain = std::chrono::seconds(15);
constexpr Duration kBackoffLast = std::chrono::seconds(10);

}  // namespace

void Agent::Impl::begin(Operation operation, Task<void> work) {
  PGV_ASSERT(operation_ == Operation::None);
  operation_ = operation;
  progress_.clear();
  publish_status();
  tasks_.spawn(std::move(work), [this] {
    operation_ = Operation::None;
    ++operations_ended_;
    progress_.clear();
    operation_done_.notify();
    wake();
  });
}

void Agent::Impl::back_off(const Error& why) {
  log.error("{}", why.message());
  problem_ = why.message();
  backoff_ = backoff_ == Duration::zero() ? kBackoffFirst : std::min(backoff_ * 2, kBackoffLast);
  retry_at_ = now() + backoff_;
}

void Agent::Impl::set_role(Role role) {
  if (role_ == role) return;
  log.info("role {} (was {})", to_string(role), to_string(role_));
  role_ = role;
  publish_status();
}

Task<void> Agent::Impl::execute(Decision decision) {
  if (decision.rewind_check_due) rewind_ = RewindStage::Due;
  switch (decision.action) {
    case Action::None: break;
    case Action::ClaimInitialize: co_await claim_initialize(); break;
    case Action::Bootstrap: begin(Operation::Bootstrap, bootstrap()); break;
    case Action::WriteInitialize: co_await write_initialize(); break;
    case Action::Clone: begin(Operation::Clone, clone(decision.target)); break;
    case Action::CrashRecover: begin(Operation::CrashRecover, crash_recover()); break;
    case Action::StartLeader: begin(Operation::StartPrimary, start_primary()); break;
    case Action::StartReplica: begin(Operation::StartStandby, start_standby(decision.target)); break;
    case Action::Follow: co_await follow(decision.target); break;
    case Action::CheckRewind: begin(Operation::CheckRewind, check_rewind(decision.target)); break;
    case Action::Rewind: begin(Operation::Rewind, rewind(decision.target)); break;
    case Action::Reclone: begin(Operation::Reinitialize, recreate(false)); break;
    case Action::AcquireLeader: co_await acquire_leader(); break;
    case Action::ReattachLeader: co_await reattach_leader(); break;
    case Action::ReleaseLeader: co_await release_leader(decision.reason); break;
    case Action::Promote: begin(Operation::Promote, promote()); break;
    case Action::KeepLeading: co_await lead(); break;
    case Action::Handover: begin(Operation::Handover, handover(decision.target, decision.reason)); break;
    case Action::FindWalEnd: begin(Operation::FindWalEnd, find_wal_end()); break;
    case Action::HandoverCrashed:
      if (instance_.running_as_primary() && disk_fails_) {
        // A checkpoint on a full disk is a PANIC, so there is no clean stop, and what was allocated before still takes
        // commits, so what was flushed a moment ago says nothing: the server is ended, and its WAL read to the end.
        writes_stuck_ = false;
        probe_after_ = now() + kProbePause;
        failed_leader_until_ = now() + kProbePause;
        p.postgres.kill_now();
        wake();
        break;
      }
      begin(Operation::Handover, hand_over_crashed(decision.target, decision.reason));
      break;
    case Action::DemoteNow: demote_now(); break;
    case Action::DemoteRelease: begin(Operation::Demote, demote_release()); break;
    case Action::DemoteOffline: begin(Operation::Demote, demote_offline()); break;
    case Action::DemoteCluster: begin(Operation::Demote, demote_cluster()); break;
    case Action::ClearFailover: co_await clear_failover(); break;
    case Action::Exit:
      log.error("{}", decision.reason);
      exit_code_ = 1;
      break;
  }
}

Task<void> Agent::Impl::acquire_leader() {
  const ViewPtr decided_on = view();
  const TimePoint deadline = dcs_deadline();
  auto lease = co_await p.store.ensure_lease(deadline);
  if (!lease) {
    log.warning("cannot take the leader key: {}", lease.error().message());
    co_return;
  }
  // The compare is with what the view shows now; the decision was made on what it showed before the lease was there.
  const ViewPtr seen = view();
  if (seen->status_revision != decided_on->status_revision || seen->history_revision != decided_on->history_revision ||
      seen->sync.mod_revision != decided_on->sync.mod_revision ||
      seen->reserved_revision != decided_on->reserved_revision) {
    wake();
    co_return;
  }
  // A promise that was given while the lease was asked for; and none is given until the answer is known.
  if (promised_until() && !instance_.running_as_primary()) co_return;
  acquiring_ = true;
  auto reply = co_await p.store.acquire_leader(deadline);
  acquiring_ = false;
  if (reply.outcome == dcs::WriteOutcome::Applied) lead_doubtful_ = false;
  if (reply.outcome == dcs::WriteOutcome::Unknown) (void)co_await p.store.refresh(deadline);
  if (reply.outcome == dcs::WriteOutcome::Refused) {
    rewind_ = RewindStage::Due;
    (void)co_await p.store.refresh(deadline);
    log.info("{}", view()->leader ? "another member was quicker to take the leader key"
                                  : "the cluster has changed since this member decided to take the leader key");
    wake();
  }
  if (reply.outcome == dcs::WriteOutcome::Applied && !attached()) (void)co_await p.store.refresh(deadline);
  if (!attached()) co_return;
  log.info("took the leader key");
  held_until_ = lease_until();
  held_ttl_ = p.store.lease()->ttl;
  if (instance_.running_as_primary()) (void)arm_guard(instance_.postmaster_pid);
  if (view()->failover) co_await clear_failover();
  wake();
}

Task<void> Agent::Impl::reattach_leader() {
  const TimePoint deadline = dcs_deadline();
  auto lease = co_await p.store.ensure_lease(deadline);
  if (!lease || !guard_within(ha::deadline_of(lease->proven_until(), lease->ttl))) co_return;
  auto reply = co_await p.store.reattach_leader(deadline);
  if (reply.outcome == dcs::WriteOutcome::Applied) lead_doubtful_ = false;  // the compare found the key as we knew it
  if (reply.outcome != dcs::WriteOutcome::Applied || !attached()) (void)co_await p.store.refresh(deadline);
  if (attached()) {
    log.info("the leader key is bound to this agent's lease again");
    if (guarded_pid_ != 0) (void)arm_guard(guarded_pid_);
    lease_confirmed();
  } else if (reply.outcome == dcs::WriteOutcome::Refused) {
    log.warning("the leader key could not be bound to this agent's lease: it has changed");
  }
  wake();
}

Task<void> Agent::Impl::release_leader(std::string reason) {
  // A primary that still runs must never be without the key: whoever comes here has stopped it or never promoted it.
  if (instance_.running_as_primary() && !settings().pause) co_return;
  const TimePoint deadline = dcs_deadline();
  lead_doubtful_ =
      true;  // until etcd has said what became of the key: nothing may start or be promoted on its strength
  auto reply = co_await p.store.release_leader(std::nullopt, std::nullopt, deadline);
  if (reply.outcome == dcs::WriteOutcome::Applied) {
    log.info("gave the leader key up: {}", reason);
    no_race_until_ = now() + settings().ttl;
    if (role_ == Role::Leader) {
      set_role(Role::Demoted);
      p.postgres.run_callback("on_role_change", "demoted");
    }
  }
  const auto read = co_await p.store.refresh(deadline);
  // Still ours: only a write of our own over it (ReattachLeader) makes sure that no late deletion follows.
  if (reply.outcome == dcs::WriteOutcome::Applied || (read && !view()->led_by(p.node.name()))) lead_doubtful_ = false;
  wake();
}

Task<void> Agent::Impl::clear_failover() {
  const ViewPtr seen = view();
  if (!seen->failover) co_return;
  const TimePoint deadline = dcs_deadline();
  std::string none = "{}";
  auto reply = co_await p.store.write_failover(std::move(none), seen->failover->mod_revision, deadline);
  if (reply.outcome != dcs::WriteOutcome::Applied) (void)co_await p.store.refresh(deadline);
}

Task<void> Agent::Impl::claim_initialize() {
  const TimePoint deadline = dcs_deadline();
  auto lease = co_await p.store.ensure_lease(deadline);
  if (!lease) co_return;
  (void)co_await p.store.claim_initialize(deadline);
  (void)co_await p.store.refresh(deadline);
  const ViewPtr seen = view();
  const bool empty = seen->initialize && seen->initialize->empty();
  // Also after a reply that was lost: etcd itself says whose claim it is.
  initialize_is_mine_ = empty && seen->bootstrap_owner == p.node.name();
  claim_ = seen->bootstrap_claim;
  wake();
}

Task<void> Agent::Impl::write_initialize() {
  const TimePoint deadline = dcs_deadline();
  auto reply = co_await p.store.write_initialize(instance_.system_id, deadline);
  if (reply.outcome != dcs::WriteOutcome::Applied) (void)co_await p.store.refresh(deadline);
  wake();
}

// The lease is gone or cannot be proven: nothing may be acknowledged from here on.
void Agent::Impl::demote_now() {
  p.postgres.kill_now();
  p.postgres.cancel_action();
  running_as_.reset();
  if (role_ == Role::Leader || role_ == Role::Promoted || role_ == Role::StandbyLeader) {
    set_role(Role::Demoted);
    p.postgres.run_callback("on_role_change", "demoted");
  }
  wake();
}

Task<void> Agent::Impl::follow(MemberName target) {
  if (role_ == Role::Uninitialized || role_ == Role::Demoted || role_ == Role::Leader || role_ == Role::StandbyLeader ||
      role_ == Role::Promoted) {
    set_role(Role::Replica);
  }
  if (instance_.replay_needs_restart) {
    log.info("restarting: replay has stopped at limits of the leader that are above those of this server");
    RestartRequest request;
    begin(Operation::Restart, restart_server(std::move(request)));
    co_return;
  }
  auto run = as_standby(target);
  const bool same = running_as_ && running_as_->standby && running_as_->upstream == run.upstream &&
                    running_as_->restore_command == run.restore_command;
  if (!same) {
    const TimePoint deadline = now() + settings().retry_timeout;
    postgres::RunAs copy = run;
    auto changed = co_await p.postgres.reconfigure(std::move(copy), deadline);
    if (!changed) {
      if (!reconfigure_failed_) log.warning("{}", changed.error().message());
      reconfigure_failed_ = true;
      co_return;
    }
    reconfigure_failed_ = false;
    running_as_ = std::move(run);
    if (rewind_ == RewindStage::Settled) rewind_ = RewindStage::Due;
    if (*changed) {
      RestartRequest request;
      begin(Operation::Restart, restart_server(std::move(request)));
      co_return;
    }
  }
  // A standby that cannot stream for long may have been compared too early, or not have been mended after all.
  if (instance_.replication_state == "streaming" || target.empty()) {
    not_streaming_since_.reset();
    problem_.clear();
  } else if (!not_streaming_since_) {
    not_streaming_since_ = now();
  } else if (rewind_ == RewindStage::Settled && now() - *not_streaming_since_ > kCompareAgain) {
    not_streaming_since_.reset();
    rewind_ = RewindStage::Due;
    wake();
  }
  const auto* leader = view()->leader_member();
  if (rewind_ != RewindStage::Settled && leader != nullptr && instance_.replication_state == "streaming" &&
      instance_.timeline.known() && instance_.timeline == leader->timeline) {
    rewind_ = RewindStage::Settled;
  }
  if (now() >= duties_at_) {
    duties_at_ = now() + settings().loop_wait;
    co_await sync_slots();
  }
}

}  // namespace pgvigil::agent
