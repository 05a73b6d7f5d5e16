// The session lease is kept by a coroutine of its own, so that nothing the loop waits for can delay a renewal. Every
// confirmed renewal moves the guard's deadline.
#include <algorithm>

#include "agent/impl.h"

namespace pgvigil::agent {
namespace {

constexpr Duration kRetryFirst = std::chrono::milliseconds(100);
constexpr Duration kRetryLast = std::chrono::seconds(1);
constexpr Duration kTryMin = std::chrono::milliseconds(300);

}  // namespace

Task<void> Agent::Impl::keep_lease() {
  Duration retry = kRetryFirst;
  while (!stopping_) {
    const ViewPtr seen = view();
    if (seen->revision.value() == 0) {  // the ttl is not known yet
      const TimePoint look = now() + kRetryFirst;
      (void)co_await lease_wake_.wait_until(look);
      continue;
    }
    const auto& s = seen->settings;
    const Duration interval = std::min<Duration>(s.loop_wait, s.ttl / 3);
    if (const auto proof = p.store.lease(); proof && proof->ttl == s.ttl && now() < proof->sent_at + interval) {
      const TimePoint due = proof->sent_at + interval;
      const TimePoint look = guard_trouble_ ? std::min(due, now() + kRetryFirst) : due;
      (void)co_await lease_wake_.wait_until(look);
      if (guard_trouble_ && !stopping_) lease_confirmed();
      continue;
    }
    const bool had_lease = p.store.lease().has_value();
    // Two tries fit between the moment at which a renewal is due and the one at which a leader has to stop: a request
    // that is lost costs nothing.
    const TimePoint deadline = now() + std::min<Duration>(s.retry_timeout, std::max(s.ttl / 6, kTryMin));
    auto renewed = co_await p.store.ensure_lease(deadline);
    if (stopping_) break;
    if (renewed) {
      dcs_silent_since_.reset();
      retry = kRetryFirst;
      lease_confirmed();
      if (!had_lease) wake();
      continue;
    }
    if (renewed.error().code == Errc::LeaseLost) {
      log.warning("etcd does not know this member's lease any more");
      wake();
    } else if (!dcs_silent_since_) {
      dcs_silent_since_ = now();
      drain_wake_.notify();
      log.warning("cannot renew the lease: {}", renewed.error().message());
      wake();
    }
    tasks_.spawn(failsafe_round());
    const TimePoint again = now() + retry;
    (void)co_await lease_wake_.wait_until(again);
    retry = std::min(retry * 2, kRetryLast);
  }
}

bool Agent::Impl::attached() const {
  const auto seen = view();
  const auto proof = p.store.lease();
  return !lead_doubtful_ && seen->led_by(p.node.name()) && proof && proof->lease == seen->leader->lease;
}

// The guard strikes at the deadline that it knows: one that could not be told of a renewal, or that was shortened
// before the key moves to another lease.
std::optional<TimePoint> Agent::Impl::leader_until() const {
  const auto until = lease_until();
  return until && guarded_pid_ != 0 ? std::min(*until, armed_until_) : until;
}

std::optional<TimePoint> Agent::Impl::lease_until() const {
  const auto by_lease = proven_by_lease();
  const auto by_members = failsafe_until();
  return by_lease && by_members ? std::max(by_lease, by_members) : by_members ? by_members : by_lease;
}

std::optional<TimePoint> Agent::Impl::proven_by_lease() const {
  if (const auto proof = p.store.lease(); proof && attached())
    return ha::deadline_of(proof->proven_until(), proof->ttl);
  // Re-attaching the key to a new lease takes a moment, and the old lease counts until then.
  if (view()->led_by(p.node.name())) return held_until_;
  return view()->revision.value() == 0 ? held_until_ : std::nullopt;
}

// Of the deadline in force: a lease with a ttl that has just been raised counts from when the guard knows its deadline.
Duration Agent::Impl::lead_ttl() const {
  return held_ttl_ > Duration::zero() ? std::min<Duration>(held_ttl_, settings().ttl) : settings().ttl;
}

TimePoint Agent::Impl::stop_begins(TimePoint until) const { return ha::begin_stop_at(until, lead_ttl()); }

bool Agent::Impl::lead_is_fresh() const {
  const auto until = leader_until();
  return attached() && until && now() < stop_begins(*until);
}

void Agent::Impl::lease_confirmed() {
  if (!attached()) return;
  held_until_ = lease_until();
  const bool guarded = guarded_pid_ != 0 && !settings().pause;
  if (!guarded || arm_guard(guarded_pid_)) held_ttl_ = p.store.lease()->ttl;
}

bool Agent::Impl::arm_guard(std::int64_t pid) {
  const auto until = lease_until();
  if (!(attached() || failsafe_until()) || !until || now() >= *until) return false;
  const auto armed = p.guard.arm(*until, pid);
  if (!armed) {
    if (!guard_trouble_) {
      guard_trouble_since_ = now();
      log.error("{}", armed.error().message());
    }
    guard_trouble_ = true;
    return false;
  }
  if (guard_trouble_) log.info("the guard answers again");
  guard_trouble_ = false;
  if (guarded_pid_ != pid) guard_adopted_ = false;
  guarded_pid_ = pid;
  armed_until_ = *until;
  held_until_ = until;
  if (options.feed_watchdog) watchdog_failed_ = !options.feed_watchdog(settings().ttl, settings().loop_wait);
  return !options.watchdog_required || !watchdog_failed_;
}

bool Agent::Impl::guard_hiccup() const { return guard_trouble_ && now() - guard_trouble_since_ < settings().ttl; }

bool Agent::Impl::guard_within(TimePoint until) {
  if (guarded_pid_ == 0 || armed_until_ <= until || settings().pause) return true;
  const auto armed = p.guard.arm(until, guarded_pid_);
  if (armed) armed_until_ = until;
  return armed.has_value();
}

void Agent::Impl::disarm_guard() {
  if (guarded_pid_ == 0) return;
  if (const auto done = p.guard.disarm(); !done) {
    log.warning("{}", done.error().message());
    return;
  }
  guarded_pid_ = 0;
  held_until_.reset();
  if (options.stop_watchdog) options.stop_watchdog();
}

}  // namespace pgvigil::agent
