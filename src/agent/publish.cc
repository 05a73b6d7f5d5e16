// What others see of this agent: the member key, the snapshot behind the REST API, and the log.
#include "agent/impl.h"
#include "dcs/member_json.h"

namespace pgvigil::agent {

// One line for each change of the decision, not for each step.
void Agent::Impl::report(const Decision& decision) {
  ++decision_counts_[std::string(decision.rule)];
  std::string text = fmt::format("{}|{}|{}", decision.rule, decision.target.text(), decision.reason);
  if (text != last_reported_) {
    log.info("{} ({})", decision.reason, decision.rule);
    last_reported_ = std::move(text);
  }
  last_decision_ = decision;
}

InstanceState Agent::Impl::instance_state() const {
  switch (operation_) {
    case Operation::Bootstrap: return InstanceState::Initializing;
    case Operation::Clone:
    case Operation::Reinitialize: return InstanceState::CreatingReplica;
    case Operation::StartPrimary:
    case Operation::StartStandby: return InstanceState::Starting;
    case Operation::Restart: return InstanceState::Restarting;
    case Operation::Handover:
    case Operation::Demote:
      return instance_.postmaster == PostmasterState::Stopped ? InstanceState::Stopped : InstanceState::Stopping;
    default: break;
  }
  switch (instance_.postmaster) {
    case PostmasterState::Running: return InstanceState::Running;
    case PostmasterState::Starting: return InstanceState::Starting;
    case PostmasterState::Unresponsive: return InstanceState::Running;
    case PostmasterState::Stopped: break;
  }
  if (start_failed_) return InstanceState::StartFailed;
  return crashed_ ? InstanceState::Crashed : InstanceState::Stopped;
}

Member Agent::Impl::member_record() const {
  Member m;
  m.name = p.node.name();
  m.conn_url = p.node.conn_url();
  m.api_url = p.node.api_url();
  m.proxy_url = p.node.proxy_url();
  m.version = p.node.version();
  m.state = instance_state();
  m.role = role_;
  m.tags = p.node.tags();
  m.raw_tags = p.node.raw_tags();
  m.pending_restart = instance_.pending_restart;
  m.pending_restart_flag = !instance_.pending_restart.empty();
  if (checkpoint_pending_) m.checkpoint_after_promote = false;
  const bool positions = instance_.postmaster == PostmasterState::Running &&
                         (operation_ == Operation::None || operation_ == Operation::Promote);
  if (positions) {
    m.wal_position = instance_.wal_end();
    m.timeline = instance_.timeline;
    if (instance_.in_recovery) {
      m.receive_lsn = instance_.received;
      m.replay_lsn = instance_.replayed;
      m.replication_state = instance_.replication_state;
    }
  }
  m.scheduled_restart = scheduled_restart_;
  m.pause = settings().pause;
  m.progress = progress_;
  m.problem = problem_;
  return m;
}

Task<void> Agent::Impl::publish_member() {
  if (view()->revision.value() == 0 || stop_is_due()) co_return;
  const auto proof = p.store.lease();
  if (!proof && !stopping_ && stop_requests_ == 0) co_return;
  Member record = member_record();
  std::string json = dcs::member_to_json(record);
  record.wal_position = record.receive_lsn = record.replay_lsn = Lsn();
  std::string without_position = dcs::member_to_json(record);
  const LeaseId lease = proof ? proof->lease : LeaseId();
  const auto* stored = view()->member(p.node.name());
  const bool same_lease = lease == published_lease_ && stored != nullptr && stored->lease == lease;
  if (same_lease && json == published_) co_return;
  // Positions change all the time; they are written once a loop_wait, everything else at once.
  if (same_lease && without_position == published_without_position_ && now() - published_at_ < settings().loop_wait) {
    co_return;
  }
  const TimePoint deadline = within(std::min<Duration>(settings().retry_timeout, std::chrono::seconds(3)));
  auto reply = co_await p.store.write_member(json, deadline);
  published_at_ = now();
  if (reply.outcome != dcs::WriteOutcome::Applied) {
    published_.clear();
    co_return;
  }
  published_ = std::move(json);
  published_without_position_ = std::move(without_position);
  published_lease_ = lease;
}

void Agent::Impl::publish_status() {
  auto s = std::make_shared<AgentStatus>();
  s->scope = p.node.scope();
  s->name = p.node.name();
  s->view = p.store.view();
  s->instance = instance_;
  s->role = role_;
  s->state = instance_state();
  if (attached()) s->leader_until = p.store.lease()->proven_until();
  if (failsafe_until()) {
    s->leader_until = std::max(s->leader_until, *failsafe_sent_ + failsafe_ttl_);
    const auto proof = p.store.lease();
    s->failsafe_active =
        !proof || now() > proof->sent_at + std::min<Duration>(settings().loop_wait, settings().ttl / 3) * 2;
  }
  s->dcs_last_seen = p.store.last_answer_wall();
  const auto answered = p.store.last_answer();
  s->dcs_fresh = answered && now() - *answered < settings().ttl;
  s->operation = std::string(to_string(operation_));
  s->progress = progress_;
  s->problem = problem_;
  s->next_step_by = next_step_by_;
  s->paused = settings().pause;
  s->watchdog_failed = options.watchdog_required && watchdog_failed_;
  s->tags = p.node.tags();
  s->raw_tags = p.node.raw_tags();
  s->scheduled_restart = scheduled_restart_;
  s->last_decision = last_decision_;
  s->decisions = decision_counts_;
  s->guard_armed = guarded_pid_ != 0;
  status_ = std::move(s);
}

}  // namespace pgvigil::agent
