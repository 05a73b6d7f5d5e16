// What the REST API orders. Replies are to the letter of the interface.
#include <algorithm>
#include <charconv>

#include "agent/impl.h"

namespace pgvigil::agent {
namespace {

constexpr Duration kCommandPatience = std::chrono::minutes(10);

// "15.4" and "15.4.0" as server_version_num would say it: 150004. Zero: not a version.
int version_number(const std::string& text) {
  int parts[3] = {0, 0, 0};
  int count = 0;
  const char* at = text.data();
  const char* end = at + text.size();
  while (at < end && count < 3) {
    const auto [next, error] = std::from_chars(at, end, parts[count]);
    if (error != std::errc()) return 0;
    ++count;
    at = next < end ? next + 1 : end;
  }
  if (parts[0] >= 10) return parts[0] * 10000 + parts[1];
  return parts[0] * 10000 + parts[1] * 100 + parts[2];
}

CommandReply busy(Operation operation) { return {503, fmt::format("{} already in progress", to_string(operation))}; }

}  // namespace

std::string Agent::Impl::restart_refused(const RestartRequest& request) const {
  if (request.role && *request.role != role_) return "role";
  if (!request.postgres_version.empty() && instance_.server_version >= version_number(request.postgres_version)) {
    return "version";
  }
  if (request.restart_pending && instance_.pending_restart.empty()) return "pending";
  return {};
}

Task<CommandReply> Agent::Impl::restart(RestartRequest request) {
  if (stop_requests_ > 0) co_return CommandReply{503, "the agent is stopping"};
  if (operation_ != Operation::None) co_return busy(operation_);
  if (instance_.postmaster == PostmasterState::Starting) co_return CommandReply{503, "postgres is still starting"};
  if (!restart_refused(request).empty()) co_return CommandReply{503, "restart conditions are not satisfied"};
  command_result_.reset();
  begin(Operation::Restart, restart_server(std::move(request)));
  wake();
  const TimePoint limit = now() + kCommandPatience;
  while (!command_result_ && operation_ == Operation::Restart) {
    if (!co_await operation_done_.wait_until(limit)) break;
  }
  if (command_result_ && *command_result_) co_return CommandReply{200, "restarted successfully"};
  co_return CommandReply{503, "restart failed"};
}

Task<void> Agent::Impl::scheduled_restart_due() {
  if (!scheduled_restart_ || !scheduled_restart_->schedule || operation_ != Operation::None || settings().pause)
    co_return;
  if (!scheduled_restart_->postmaster_start_time.empty() && !instance_.postmaster_start_time.empty() &&
      scheduled_restart_->postmaster_start_time != instance_.postmaster_start_time) {
    log.info("the scheduled restart is dropped: PostgreSQL was restarted meanwhile");
    scheduled_restart_.reset();
    co_return;
  }
  const auto late = p.clock.wall() - *scheduled_restart_->schedule;
  if (late < std::chrono::microseconds::zero()) co_return;
  RestartRequest request = *scheduled_restart_;
  scheduled_restart_.reset();
  if (late > settings().loop_wait * 3 / 2) {
    log.warning("the scheduled restart is dropped: its time has passed by more than 1.5 loop_wait");
    co_return;
  }
  if (!restart_refused(request).empty()) {
    log.info("the scheduled restart is dropped: its conditions are not satisfied");
    co_return;
  }
  log.info("restarting PostgreSQL as scheduled");
  begin(Operation::Restart, restart_server(std::move(request)));
}

Task<CommandReply> Agent::Impl::reinitialize(bool force, bool from_leader) {
  if (stop_requests_ > 0) co_return CommandReply{503, "the agent is stopping"};
  const ViewPtr seen = view();
  if (!seen->leader) co_return CommandReply{503, "Cluster has no leader, can not reinitialize"};
  if (seen->led_by(p.node.name())) co_return CommandReply{503, "I am the leader, can not reinitialize"};
  if (operation_ != Operation::None) {
    if (!force) co_return busy(operation_);
    p.postgres.cancel_action();
    const TimePoint limit = now() + std::chrono::seconds(10);
    while (operation_ != Operation::None) {
      if (!co_await operation_done_.wait_until(limit)) co_return busy(operation_);
    }
  }
  begin(Operation::Reinitialize, recreate(from_leader));
  wake();
  co_return CommandReply{200, "reinitialize started"};
}

Task<CommandReply> Agent::restart(RestartRequest request) { return impl_->restart(std::move(request)); }

Task<CommandReply> Agent::schedule_restart(RestartRequest request) {
  if (impl_->settings().pause) co_return CommandReply{500, "Can't schedule restart in the paused state"};
  if (impl_->scheduled_restart_) co_return CommandReply{409, "Another restart is already scheduled"};
  if (request.postmaster_start_time.empty()) request.postmaster_start_time = impl_->instance_.postmaster_start_time;
  impl_->scheduled_restart_ = std::move(request);
  impl_->wake();
  co_return CommandReply{202, "Restart scheduled"};
}

Task<CommandReply> Agent::delete_scheduled_restart() {
  if (!impl_->scheduled_restart_) co_return CommandReply{404, "no restarts are scheduled"};
  impl_->scheduled_restart_.reset();
  impl_->wake();
  co_return CommandReply{200, "scheduled restart deleted"};
}

Task<CommandReply> Agent::reinitialize(bool force, bool from_leader) { return impl_->reinitialize(force, from_leader); }

CommandReply Agent::reload() {
  impl_->local_reload_due_ = true;
  impl_->wake();
  return {202, "reload scheduled"};
}

Task<dcs::TxnReply> Agent::write_config(std::string json, std::optional<Revision> expected, TimePoint deadline) {
  return impl_->p.store.write_config(std::move(json), expected, deadline);
}

Task<dcs::TxnReply> Agent::write_failover(std::string json, std::optional<Revision> expected, TimePoint deadline) {
  return impl_->p.store.write_failover(std::move(json), expected, deadline);
}

Task<bool> Agent::can_take_over(MemberName member) {
  const ViewPtr seen = impl_->view();
  const auto* known = seen->member(member);
  if (known == nullptr || known->api_url.empty() || known->tags.nofailover) co_return false;
  const TimePoint deadline = impl_->now() + std::chrono::seconds(2);
  MemberName name = member;
  std::string url = known->api_url;
  auto report = co_await impl_->p.peers.ask(std::move(name), std::move(url), deadline);
  if (!report) co_return false;
  // Without a leader nobody can be compared with: it is the operator's order, and the way out when all members hold
  // something that the cluster has left behind.
  if (!seen->leader) co_return !report->tags.nofailover && !report->watchdog_failed;
  LocalState self = impl_->local_state();
  // Who streams from here may have changed since the last step.
  if (impl_->operation_ == Operation::None) self.instance = co_await impl_->p.postgres.observe(deadline);
  self.peers_asked = true;
  self.peers.clear();
  self.peers.push_back(PeerAnswer{member, *report});
  co_return !ha::takeover_candidates(*impl_->view(), self, impl_->now(), member, true).empty();
}

Task<Instance> Agent::observe_now() {
  if (impl_->operation_ == Operation::Bootstrap || impl_->operation_ == Operation::Clone) co_return impl_->instance_;
  const TimePoint deadline = impl_->now() + std::chrono::seconds(2);
  co_return co_await impl_->p.postgres.observe(deadline);
}

Commands::FailsafeReply Agent::failsafe_ping(const std::string& name, const std::string&, const std::string&,
                                             std::optional<Duration> ttl) {
  return impl_->failsafe_ping(name, ttl);
}

}  // namespace pgvigil::agent
