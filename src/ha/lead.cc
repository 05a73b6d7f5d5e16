// This member holds the leader key, and PostgreSQL runs.
#include "ha/situation.h"
#include "ha/step_down.h"

namespace pgvigil::ha {

namespace {

// The disk takes no writes, so nothing can be committed, and no clean stop is to be had. What has been acknowledged has
// been flushed: a member that holds as much takes over.
Answer disk_stuck(const Situation& at) {
  if (!at.self.writes_stuck || !at.running() || at.paused()) return std::nullopt;
  if (!at.self.peers_asked) return std::nullopt;
  std::string lacking;
  for (const auto& candidate : candidates(at, {}, false)) {
    const auto* report = at.report_of(candidate.name);
    if (candidate.obstacle.empty() && report->wal_end >= at.instance.flushed &&
        report->timeline == at.instance.timeline) {
      return with_rewind_check(
          answer(Action::HandoverCrashed, "disk_stuck",
                 fmt::format("the disk takes no writes: handing over to {}, which holds all up to {}",
                             candidate.name.text(), to_string(at.instance.flushed)),
                 candidate.name));
    }
  }
  return std::nullopt;
}

}  // namespace

Decision lead(const Situation& at) {
  if (!at.attached()) {
    if (!at.self.lease.known()) return answer(Action::None, "wait_lease", "waiting for a lease");
    return reattach();
  }
  if (at.instance.postmaster == PostmasterState::Unresponsive) {
    return answer(Action::None, "unresponsive", "PostgreSQL runs and does not answer in time; the lease is kept");
  }
  const bool primary = at.may_write();
  if (at.self.watchdog_required && at.self.watchdog_failed) {
    return primary
               ? with_rewind_check(answer(Action::DemoteRelease, "watchdog", "the watchdog is required and unusable"))
               : answer(Action::ReleaseLeader, "watchdog", "the watchdog is required and unusable");
  }
  if (at.standby_cluster()) {
    if (primary) {
      return answer(Action::DemoteCluster, "standby_cluster", "the cluster has become the standby of another cluster");
    }
    if (auto request = step_down(at)) return *request;
    return answer(Action::KeepLeading, "standby_leader", "leading the standby cluster");
  }
  if (primary) {
    if (auto request = step_down(at)) return *request;
    if (auto stuck = disk_stuck(at)) return *stuck;
    return answer(Action::KeepLeading, "leader", "leading, the lease is proven");
  }
  if (at.self.no_race_until && at.now < *at.self.no_race_until) {
    return answer(Action::ReleaseLeader, "promotion_failed",
                  "the promotion failed: leaving the lead to another member");
  }
  // A request for the key that was lost may be applied after the promise was given. A ping is refused from now on.
  if (at.self.failsafe_until && at.self.role != Role::Promoted) {
    return answer(Action::None, "failsafe", "waiting for the end of the promise to a leader that could not reach etcd");
  }
  if (!at.lease_fresh()) {
    return answer(Action::None, "wait_lease", "waiting for a confirmed lease before the promotion");
  }
  if (at.self.role == Role::Promoted) {
    return answer(Action::None, "promoting", "promotion was ordered; recovery has not ended yet");
  }
  return answer(Action::Promote, "promote", "this member holds the leader key: promoting PostgreSQL");
}

}  // namespace pgvigil::ha
