// The operation that turns a standby with the leader key into a primary.
#include <algorithm>

#include "agent/impl.h"

namespace pgvigil::agent {
namespace {

constexpr Duration kLook = std::chrono::milliseconds(20);
constexpr Duration kOrderMax = std::chrono::seconds(10);

}  // namespace

Task<void> Agent::Impl::promote() {
  // The guard first: from the promotion on it is what keeps this server from outliving its lease.
  if (!arm_guard(instance_.postmaster_pid)) {
    // The key stays for a hiccup: it may be that an attempt before this one has named us in the sync key, and then
    // nobody else could lead.
    if (guard_hiccup()) {
      co_await sleep_for(p.clock, kGuardPause);
      co_return;
    }
    no_race_until_ = now() + settings().ttl;
    log.error("not promoted: the guard could not be armed");
    co_return;
  }
  const TimePoint script_deadline = now() + settings().ttl;
  auto permitted = co_await p.postgres.pre_promote(script_deadline);
  if (!permitted) {
    no_race_until_ = now() + settings().ttl;
    log.error("not promoted: {}", permitted.error().message());
    co_return;
  }
  if (!co_await prepare_synchronous()) co_return;
  const auto taken = co_await reserve_timeline();
  if (!taken) co_return;
  writes_stuck_ = false;  // of an earlier reign; the next probe tells
  lacking_ = view()->status.optime - instance_.wal_end();
  if (lacking_ > WalBytes{0}) {
    log.warning("the last leader was last seen {} bytes further: what it had acknowledged there is lost",
                static_cast<std::int64_t>(lacking_));
  }
  const auto until = leader_until();
  if (!attached() || !until || now() >= *until || !arm_guard(instance_.postmaster_pid)) co_return;
  const TimePoint order_deadline = now() + kOrderMax;
  auto ordered = co_await p.postgres.promote(*taken, order_deadline);
  if (!ordered) {
    no_race_until_ = now() + settings().ttl;
    log.error("{}", ordered.error().message());
    co_return;
  }
  running_as_.reset();
  set_role(Role::Promoted);
  p.postgres.run_callback("on_role_change", "primary");
  callback_ran_ = true;
  for (const auto& [slot, seen] : std::map<std::string, TimePoint>(member_slots_)) member_slots_[slot] = now();
  // Until recovery has ended, or the lead is lost: while_busy() then ends the server, and with it this wait.
  // Nothing else ends it: a lease that is being replaced says nothing about the lead.
  while (!stopping_) {
    co_await look();
    if (instance_.running_as_primary()) break;
    if (instance_.postmaster == PostmasterState::Stopped) {
      set_role(Role::Demoted);  // the order has gone with the server
      co_return;
    }
    co_await sleep_for(p.clock, kLook);
  }
  if (!instance_.running_as_primary()) co_return;
  crashed_ = false;
  rewind_ = RewindStage::Settled;
  history_checked_ = Timeline();
  duties_at_ = TimePoint();
  set_role(Role::Leader);
  log.info("promoted: leading on timeline {}", instance_.timeline.value());
  // At once: should this reign end before the duties come to it, its last leader would be measured by a position of the
  // one before, which it never held, and nobody could lead.
  co_await write_status();
  // The files are still a standby's. Limits that were raised for the sake of the old primary then show as waiting for a
  // restart.
  const TimePoint reload_deadline = within(std::chrono::seconds(3));
  if (auto done = co_await p.postgres.reload(reload_deadline); !done) log.warning("{}", done.error().message());
  begin_checkpoint();
}

void Agent::Impl::begin_checkpoint() {
  checkpoint_pending_ = true;
  tasks_.spawn(checkpoint_after_promotion());
}

// Standbys may rewind only against a leader whose control file knows the new timeline.
Task<void> Agent::Impl::checkpoint_after_promotion() {
  while (!stopping_ && attached() && checkpoint_pending_) {
    const TimePoint deadline = now() + std::chrono::hours(1);
    auto done = co_await p.postgres.checkpoint(deadline);
    if (done) {
      checkpoint_pending_ = false;
      wake();
      co_return;
    }
    co_await sleep_for(p.clock, std::chrono::seconds(1));
  }
  checkpoint_pending_ = false;
}

// The highest timeline number that is taken. The one above it is claimed in etcd before PostgreSQL begins it: a leader
// that vanishes right after its promotion leaves commits on a timeline that nobody else has heard of.
Task<std::optional<Timeline>> Agent::Impl::reserve_timeline() {
  const Timeline taken = std::max(view()->highest_timeline(), instance_.timeline);
  const TimePoint deadline = dcs_deadline();
  auto reply = co_await p.store.reserve_timeline(Timeline(taken.value() + 1), deadline);
  if (reply.outcome == dcs::WriteOutcome::Applied) co_return taken;
  log.warning("not promoted yet: the timeline {} could not be claimed in etcd", taken.value() + 1);
  (void)co_await p.store.refresh(deadline);
  co_return std::nullopt;
}

}  // namespace pgvigil::agent
