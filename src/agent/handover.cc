// A clean handover: nothing that was committed may be missing on the next leader. The server stops; the shutdown
// checkpoint is the last thing it writes; the leader key is given up only when another member holds that checkpoint.
// When none does in time, the handover is called off and this server resumes.
#include <algorithm>

#include "agent/impl.h"

namespace pgvigil::agent {
namespace {

constexpr Duration kAskEvery = std::chrono::milliseconds(20);
constexpr Duration kAskMax = std::chrono::seconds(1);
constexpr Duration kCheckpointMax = std::chrono::minutes(5);

}  // namespace

struct Agent::Impl::Confirmation {
  explicit Confirmation(Clock& clock) : done(clock) {}
  std::vector<Member> members;  // who may take over
  Lsn checkpoint;               // location of the shutdown checkpoint's record
  TimePoint deadline;
  MemberName holder;  // who holds it; empty: nobody (yet)
  bool released = false;
  bool started = false, ended = false;
  Signal done;
};

// Asks until one of the members holds the record of the shutdown checkpoint, then gives the key up.
Task<void> Agent::Impl::confirm(std::shared_ptr<Confirmation> state) {
  while (state->holder.empty() && now() < state->deadline && attached()) {
    for (const auto& member : state->members) {
      const TimePoint deadline = std::min(state->deadline, now() + kAskMax);
      MemberName name = member.name;
      std::string url = member.api_url;
      auto report = co_await p.peers.ask(std::move(name), std::move(url), deadline);
      // The checkpoint record starts at `checkpoint`: whoever has bytes beyond holds it.
      if (report && !report->running_as_primary && report->wal_end > state->checkpoint) {
        state->holder = member.name;
        break;
      }
    }
    if (state->holder.empty()) co_await sleep_for(p.clock, kAskEvery);
  }
  if (!state->holder.empty()) {
    log.info("{} holds the shutdown checkpoint {}", state->holder.text(), to_string(state->checkpoint));
    state->released = co_await give_up_lead(state->checkpoint, std::nullopt);
  }
  state->ended = true;
  state->done.notify();
}

// `end`: what a successor has to hold. True when the key is not ours any more, false when it still is.
Task<bool> Agent::Impl::give_up_lead(Lsn end, std::optional<FailoverRequest> request) {
  set_role(Role::Demoted);  // from here on nobody may take this member for a primary
  instance_.postmaster = PostmasterState::Stopped;
  publish_status();
  ClusterStatus status = status_value();
  status.optime = end;
  // From the first attempt on the key may be gone without our knowing: this server must not resume on its strength
  // until etcd has said that it is still ours.
  lead_doubtful_ = true;
  const TimePoint patience = now() + settings().retry_timeout;
  while (now() < patience) {
    ClusterStatus copy = status;
    const TimePoint deadline = dcs_deadline();
    std::optional<FailoverRequest> named = request;
    auto reply = co_await p.store.release_leader(std::move(copy), std::move(named), deadline);
    if (reply.outcome == dcs::WriteOutcome::Applied) {
      lead_doubtful_ = false;
      co_return true;
    }
    if (co_await p.store.refresh(deadline) && !view()->led_by(p.node.name())) {
      lead_doubtful_ = false;
      co_return true;
    }
    co_await sleep_for(p.clock, kAskEvery);
  }
  co_return false;
}

// The leader of a standby cluster has committed nothing of its own: it need not stop, and there is no checkpoint to
// wait for. It goes on as a replica of whoever takes the key.
Task<void> Agent::Impl::give_up_standby_lead(std::string reason) {
  log.info("{}: giving up the lead of the standby cluster", reason);
  ClusterStatus status = status_value();
  const TimePoint deadline = dcs_deadline();
  std::optional<FailoverRequest> nobody;
  auto reply = co_await p.store.release_leader(std::move(status), std::move(nobody), deadline);
  if (reply.outcome != dcs::WriteOutcome::Applied) (void)co_await p.store.refresh(deadline);
  if (view()->led_by(p.node.name())) {
    log.error("the handover is called off: the leader key could not be given up");
    co_return;
  }
  running_as_.reset();
  set_role(Role::Replica);
  p.postgres.run_callback("on_role_change", "replica");
}

Task<void> Agent::Impl::handover(MemberName target, std::string reason) {
  if (role_ == Role::StandbyLeader && instance_.in_recovery) {
    co_await give_up_standby_lead(std::move(reason));
    co_return;
  }
  const bool any_state = view()->failover && !view()->failover->is_switchover();
  const auto state = std::make_shared<Confirmation>(p.clock);
  const LocalState self = local_state();
  for (const auto& name : ha::takeover_candidates(*view(), self, now(), target, any_state)) {
    if (const auto* member = view()->member(name)) state->members.push_back(*member);
  }
  const TimePoint checkpoint_deadline = now() + kCheckpointMax;
  auto checkpointed = co_await p.postgres.checkpoint(checkpoint_deadline);
  bool may_stop = checkpointed && attached();
  if (may_stop) may_stop = co_await drain_poolers("switchover");
  if (!may_stop) {
    log.error("the handover is called off before it began: {}",
              checkpointed ? why_not_stopped() : checkpointed.error().message());
    co_await end_drain();
    co_await clear_failover();
    co_return;
  }
  log.info("{}: stopping PostgreSQL", reason);
  const Duration patience = settings().handover_timeout;
  const TimePoint stop_deadline = now() + patience;
  const auto on_checkpoint = [this, state, patience](Lsn location) {
    if (state->started) return;
    state->started = true;
    state->checkpoint = location;
    state->deadline = now() + patience;
    tasks_.spawn(confirm(state));
  };
  auto stopped = co_await p.postgres.stop(postgres::StopMode::Fast, stop_deadline, on_checkpoint);
  if (!stopped) log.error("{}", stopped.error().message());
  const TimePoint limit = now() + patience + settings().retry_timeout + kAskMax;
  while (state->started && !state->ended) {
    if (!co_await state->done.wait_until(limit)) break;
  }
  co_await look();
  running_as_.reset();
  rewind_ = RewindStage::Due;
  if (state->released || lead_doubtful_ || !attached()) {
    if (instance_.postmaster == PostmasterState::Stopped) disarm_guard();
    p.postgres.run_callback("on_role_change", "replica");
    co_return;
  }
  log.error("the handover is called off: {}", !state->started
                                                  ? "PostgreSQL wrote no shutdown checkpoint in time"
                                                  : "no candidate confirmed the shutdown checkpoint in time");
  set_role(Role::Leader);
  co_await clear_failover();
  const bool goes_on = !stopping_ && stop_requests_ == 0;
  if (instance_.postmaster == PostmasterState::Stopped && goes_on) co_await start_primary();
  if (goes_on) co_await end_drain();
}

// SIGTERM: as a handover, but this server does not resume. Without a confirmation the key is left to expire: members
// that lack more than maximum_lag_on_failover of what the status key says then do not take over.
Task<void> Agent::Impl::stop_as_leader() {
  co_await ask_peers();
  const auto state = std::make_shared<Confirmation>(p.clock);
  const LocalState self = local_state();
  for (const auto& name : ha::takeover_candidates(*view(), self, now(), MemberName(), false)) {
    if (const auto* member = view()->member(name)) state->members.push_back(*member);
  }
  const TimePoint checkpoint_deadline = within(kCheckpointMax);
  (void)co_await p.postgres.checkpoint(checkpoint_deadline);
  (void)co_await drain_poolers("shutdown");
  const Duration patience = settings().handover_timeout;
  Lsn last;
  const auto on_checkpoint = [this, state, patience, &last](Lsn location) {
    last = location;
    if (state->started || state->members.empty()) return;
    state->started = true;
    state->checkpoint = location;
    state->deadline = now() + patience;
    tasks_.spawn(confirm(state));
  };
  const TimePoint stop_deadline = now() + std::max<Duration>(patience, std::chrono::seconds(60));
  auto stopped = co_await p.postgres.stop(postgres::StopMode::Fast, stop_deadline, on_checkpoint);
  if (!stopped) log.error("{}", stopped.error().message());
  const TimePoint limit = now() + patience + settings().retry_timeout + kAskMax;
  while (state->started && !state->ended) {
    if (!co_await state->done.wait_until(limit)) break;
  }
  if (!state->released && attached()) {
    ClusterStatus status = status_value();
    status.optime = last.known() ? last : status.optime;
    const TimePoint deadline = dcs_deadline();
    (void)co_await p.store.write_status(std::move(status), deadline);
    log.warning("stopped without a member that holds everything: the leader key is left to expire");
  }
  set_role(Role::Demoted);
}

}  // namespace pgvigil::agent
