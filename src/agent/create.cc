// Operations that fill the data directory: a new cluster, a copy, a new copy.
#include "agent/impl.h"
#include "model/slot_name.h"

namespace pgvigil::agent {
namespace {

// What takes hours is not told of every second.
constexpr Duration kProgressFirst = std::chrono::seconds(2);
constexpr Duration kProgressLast = std::chrono::minutes(5);

}  // namespace

postgres::Progress Agent::Impl::progress_sink() {
  return [this, next = now() + kProgressFirst, pause = kProgressFirst](const std::string& text) mutable {
    progress_ = text;
    publish_status();
    if (now() >= next) {
      log.info("{}", text);
      pause = std::min<Duration>(pause * 2, kProgressLast);
      next = now() + pause;
    }
    // `list` reads the member key: the loop writes it, at most once a second.
    if (now() - published_at_ > std::chrono::seconds(1)) wake();
  };
}

std::optional<postgres::Upstream> Agent::Impl::remote_upstream() const {
  const auto& standby = settings().standby_cluster;
  if (!standby || (standby->host.empty() && standby->port.empty())) return std::nullopt;
  return postgres::Upstream{MemberName(), standby->host, standby->port, standby->primary_slot_name};
}

std::optional<postgres::Upstream> Agent::Impl::upstream(const MemberName& target) const {
  const ViewPtr seen = view();
  const auto* member = seen->member(target);
  if (target.empty() || member == nullptr || member->conn_url.empty()) return std::nullopt;
  const std::string slot = seen->settings.use_slots ? slot_name_of(p.node.name()) : std::string();
  return postgres::Upstream{target, member->host, std::to_string(member->port), slot};
}

postgres::RunAs Agent::Impl::as_standby(const MemberName& target) const {
  postgres::RunAs run;
  run.standby = true;
  const ViewPtr seen = view();
  if (const auto& standby = seen->settings.standby_cluster) {
    run.restore_command = standby->restore_command;
    run.archive_cleanup_command = standby->archive_cleanup_command;
    if (!seen->leader || seen->led_by(p.node.name())) {
      run.recovery_min_apply_delay = standby->recovery_min_apply_delay;
      run.upstream = remote_upstream();
      return run;
    }
  }
  run.upstream = upstream(target);
  return run;
}

Task<void> Agent::Impl::bootstrap() {
  log.info("creating the cluster {}", p.node.scope());
  // The cluster is born with the dynamic configuration that it will have, or it would need a restart at once.
  if (auto adopted = p.node.adopt_config(p.node.bootstrap_config()); !adopted)
    log.error("{}", adopted.error().message());
  auto progress = progress_sink();
  Result<void> done;
  if (const auto remote = p.node.bootstrap_standby_cluster()) {
    std::optional<postgres::Upstream> source =
        postgres::Upstream{MemberName(), remote->host, remote->port, remote->primary_slot_name};
    done = co_await p.postgres.clone(std::move(source), false, std::move(progress));
  } else {
    done = co_await p.postgres.bootstrap(std::move(progress));
  }
  bool founded = false;
  if (done) founded = co_await found_cluster();
  if (founded) co_return;
  if (!done) log.error("{}", done.error().message());
  // Not a server that runs on while somebody else creates the cluster.
  p.postgres.kill_now();
  (void)co_await stop_server(postgres::StopMode::Immediate);  // until it is gone
  const TimePoint deadline = dcs_deadline();
  auto freed = co_await p.store.delete_initialize(claim_, deadline);
  bool unused = freed.outcome == dcs::WriteOutcome::Applied;
  if (freed.outcome == dcs::WriteOutcome::Refused && co_await p.store.refresh(deadline)) {
    unused = view()->initialize && !view()->initialize->empty() && *view()->initialize != instance_.system_id.text();
  }
  if (!unused) {
    // Our claim may stand: with it the data directory is the cluster's, and the next start of this agent goes on here.
    log.error("etcd did not answer; the claim on the new cluster and the data directory are left as they are");
  } else if (done) {
    if (auto aside = p.postgres.set_aside_data_directory(); !aside) log.error("{}", aside.error().message());
  }
  initialize_is_mine_ = false;
  exit_code_ = 1;
}

// Tells etcd of the cluster that has just been created, and takes the lead of it.
Task<bool> Agent::Impl::found_cluster() {
  const TimePoint deadline = dcs_deadline();
  const bool remote = p.node.bootstrap_standby_cluster().has_value();
  co_await look();
  if (!is_valid(instance_.system_id)) {
    log.error("the new data directory has no readable system identifier");
    co_return false;
  }
  auto config = co_await p.store.write_config(p.node.bootstrap_config(), Revision(), deadline);
  if (config.outcome == dcs::WriteOutcome::Unknown) (void)co_await p.store.refresh(deadline);
  auto initialized = co_await p.store.found(instance_.system_id, claim_, deadline);
  if (initialized.outcome != dcs::WriteOutcome::Applied) {
    (void)co_await p.store.refresh(deadline);
    if (view()->initialize != instance_.system_id.text()) {
      log.error("etcd did not take the new cluster's system identifier");
      co_return false;
    }
  }
  initialize_is_mine_ = false;
  rewind_ = RewindStage::Settled;
  if (remote) co_return true;  // starts as standby leader through the ordinary rules
  co_await acquire_leader();
  if (!attached()) {
    log.error("the leader key of the new cluster could not be taken");
    co_return false;
  }
  set_role(Role::Leader);
  p.postgres.run_callback("on_start", "primary");
  callback_ran_ = true;
  log.info("created the cluster {}: database system {}", p.node.scope(), instance_.system_id.text());
  co_return true;
}

Task<void> Agent::Impl::clone(MemberName source) {
  auto from = upstream(source);
  const auto& standby = settings().standby_cluster;
  if (source.empty() && standby) from = remote_upstream();
  auto progress = progress_sink();
  auto done = co_await p.postgres.clone(std::move(from), false, std::move(progress));
  if (!done) {
    if (done.error().code != Errc::Cancelled) back_off(done.error());
    co_return;
  }
  retry_at_.reset();
  backoff_ = Duration::zero();
  rewind_ = RewindStage::Settled;
  log.info("created a replica from {}", source.empty() ? std::string("the configured method") : source.text());
}

// Removes the data directory; the rules then ask for a new copy.
Task<void> Agent::Impl::recreate(bool from_leader) {
  if (instance_.postmaster != PostmasterState::Stopped) {
    auto stopped = co_await stop_server(postgres::StopMode::Immediate);
    if (!stopped) {
      back_off(stopped.error());
      co_return;
    }
  }
  running_as_.reset();
  set_role(Role::Uninitialized);
  auto removed = co_await p.postgres.remove_data_directory();
  if (!removed) {
    back_off(removed.error());
    co_return;
  }
  log.info("removed the data directory for a new copy");
  const ViewPtr seen = view();
  if (!from_leader || !seen->leader) co_return;
  auto progress = progress_sink();
  auto source = upstream(seen->leader->name);
  auto done = co_await p.postgres.clone(std::move(source), true, std::move(progress));
  if (!done) {
    if (done.error().code != Errc::Cancelled) back_off(done.error());
    co_return;
  }
  rewind_ = RewindStage::Settled;
}

}  // namespace pgvigil::agent
