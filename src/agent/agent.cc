// The loop: gather, decide, execute, publish; then sleep until something happens.
#include "agent/agent.h"

#include <algorithm>

#include "agent/impl.h"

namespace pgvigil::agent {
namespace {

constexpr Duration kHurry = std::chrono::milliseconds(100);
// How long shutting down may take beyond the stop of PostgreSQL itself.
constexpr Duration kShutdownGrace = std::chrono::seconds(5);

}  // namespace

Agent::Impl::Impl(Ports ports, Options options_in)
    : p(ports),
      options(std::move(options_in)),
      log(ports.log.in_room("agent")),
      wake_(p.clock),
      lease_wake_(p.clock),
      operation_done_(p.clock),
      drain_wake_(p.clock),
      tasks_(p.clock),
      no_view_(std::make_shared<ClusterView>()),
      status_(std::make_shared<AgentStatus>()) {
  if (!options.decide) options.decide = ha::decide;
  if (!options.sync_step) options.sync_step = ha::next_sync_step;
}

ViewPtr Agent::Impl::view() const {
  auto current = p.store.view();
  return current ? current : no_view_;
}

TimePoint Agent::Impl::within(Duration length) const {
  const TimePoint end = now() + length;
  if (settings().pause) return end;
  const auto until = leader_until();
  if (!until) return end;
  const TimePoint stop_at = stop_begins(*until);
  if (now() < stop_at) return std::min(end, stop_at);
  return stop_is_due() ? std::min(end, now() + kHurry) : end;
}

bool Agent::Impl::stop_is_due() const {
  const auto until = leader_until();
  // A server that the guard watches may have been started since the last look.
  const bool may_run = instance_.postmaster != PostmasterState::Stopped || guarded_pid_ != 0;
  return until && !settings().pause && may_run && now() < *until && now() >= stop_begins(*until);
}

Task<int> Agent::Impl::run() {
  started_ = now();
  // A guard that outlived an earlier agent knows the deadline of the primary that this agent may be about to adopt.
  if (const auto guard = p.guard.status(); guard && guard->postmaster_pid != 0) {
    guarded_pid_ = guard->postmaster_pid;
    armed_until_ = guard->deadline;
    guard_adopted_ = true;
    held_until_ = guard->deadline;
    log.info("adopting the guard of postmaster {} with {:.1f} s left", guard->postmaster_pid,
             seconds_of(guard->deadline - now()));
  }
  p.postgres.on_exit([this](bool expected) {
    if (!expected) {
      crashed_ = true;
      drain_wake_.notify();
      note_failure();
      log.warning("PostgreSQL has ended without an order");
    }
    if (!stopped_since_) stopped_since_ = now();
    wake();
  });
  p.store.on_change([this](const std::vector<std::string>& keys) {
    const bool only_own = std::all_of(keys.begin(), keys.end(), [this](const std::string& key) {
      return key == "members/" + p.node.name().text() || (key == "status" && attached()) ||
             key.starts_with("poolers/");  // no rule looks at them
    });
    drain_wake_.notify();
    publish_status();  // the REST API shows what etcd says, not what it said at the last step
    if (!only_own) wake();
  });
  p.store.start();
  tasks_.spawn(keep_lease());
  while (!exit_code_) {
    if (stop_requests_ > 0) {
      co_await shut_down();
      break;
    }
    co_await step();
    if (!exit_code_) (void)co_await wake_.wait_until(next_step_by_);
  }
  stopping_ = true;
  lease_wake_.notify();
  p.postgres.cancel_action();
  const TimePoint patience = now() + kShutdownGrace;
  if (!co_await tasks_.join(patience)) log.warning("some work had not ended when the agent stopped");
  p.store.stop();
  co_return exit_code_.value_or(0);
}

Task<void> Agent::Impl::step() {
  co_await adopt_configuration();
  const auto ended_before = operations_ended_;
  co_await observe();
  if (exit_code_) co_return;  // an operation has ended the agent meanwhile
  if (operations_ended_ != ended_before) {
    wake();  // what was seen is from before the operation's end: look again
    co_return;
  }
  peers_asked_ = false;
  LocalState state = local_state();
  if (ha::needs_peers(*view(), state, now())) {
    co_await ask_peers();
    state = local_state();
    if (operations_ended_ != ended_before) {
      wake();
      co_return;
    }
  }
  const ViewPtr seen = view();
  const TimePoint at = now();
  Decision decision = options.decide(*seen, state, at);
  report(decision);
  next_step_by_ = ha::next_look(*seen, state, decision, at);
  if (scheduled_restart_ && scheduled_restart_->schedule) {
    const auto left = *scheduled_restart_->schedule - p.clock.wall();
    if (left > std::chrono::microseconds::zero()) next_step_by_ = std::min(next_step_by_, at + left);
  }
  first_step_ = false;
  co_await execute(decision);
  co_await scheduled_restart_due();
  co_await publish_member();
  publish_status();
}

void Agent::Impl::request_stop() {
  ++stop_requests_;
  if (stop_requests_ > 1) p.postgres.cancel_action();
  drain_wake_.notify();
  wake();
}

Task<void> Agent::Impl::shut_down() {
  log.info("stopping: {}", settings().pause ? "PostgreSQL goes on, the cluster is paused" : "PostgreSQL stops too");
  p.postgres.cancel_action();
  const TimePoint patience = within(kShutdownGrace);
  while (operation_ != Operation::None && now() < patience) {
    if (!co_await operation_done_.wait_until(patience)) break;
  }
  if (settings().pause) {
    disarm_guard();
    co_return;
  }
  co_await observe();
  // A server that does not answer right now, or whose start or promotion has not ended, may hold commits that nobody
  // else has.
  const bool may_be_primary = instance_.postmaster != PostmasterState::Stopped &&
                              (!instance_.standby_configured || instance_.running_as_primary() ||
                               role_ == Role::Leader || role_ == Role::Promoted);
  if (attached() && may_be_primary) {
    co_await stop_as_leader();
  } else if (instance_.postmaster != PostmasterState::Stopped) {
    auto stopped = co_await stop_server(postgres::StopMode::Fast);
    if (!stopped) log.error("{}", stopped.error().message());
    // Not after a primary: a bootstrap that ended meanwhile has taken the key, and nobody holds its checkpoint.
    if (attached() && !may_be_primary) co_await release_leader("stopped");
  }
  disarm_guard();
  co_await observe();
  p.postgres.run_callback("on_stop", std::string(to_string(role_)));
  co_await publish_member();
  publish_status();
}

Agent::Agent(Ports ports, Options options) : impl_(std::make_unique<Impl>(ports, std::move(options))) {}
Agent::~Agent() = default;
Task<int> Agent::run() { return impl_->run(); }
void Agent::request_stop() { impl_->request_stop(); }
std::shared_ptr<const AgentStatus> Agent::status() const { return impl_->status_; }
Clock& Agent::clock() { return impl_->p.clock; }

}  // namespace pgvigil::agent
