// No postmaster runs: how it is started, and what has to be done before.
#include "ha/crash.h"
#include "ha/situation.h"
#include "ha/step_down.h"
#include "ha/upstream.h"

namespace pgvigil::ha {
namespace {

// How long a stopped server waits for a leader whose history it can compare itself with, before it is started for its
// readers' sake. Starting a diverged standby is harmless: it cannot stream, and is compared again while it runs.
constexpr Duration kHistoryPatience = std::chrono::seconds(10);

bool died_as_primary(const Situation& at) {
  if (!at.instance.control || at.instance.standby_configured) return false;
  switch (at.instance.control->state) {
    case ControlState::InProduction:
    case ControlState::InCrashRecovery:
    case ControlState::ShuttingDown: return true;
    default: return false;
  }
}

bool was_primary(const Situation& at) {
  const bool clean = at.instance.control && at.instance.control->state == ControlState::ShutDown;
  return died_as_primary(at) || (clean && !at.instance.standby_configured);
}

Decision after_crash(const Situation& at) {
  const auto plan = plan_after_crash(at);
  if (plan.seek) return answer(Action::FindWalEnd, "find_wal_end", "PostgreSQL has died: finding the end of its WAL");
  if (!plan.successor.empty()) {
    return with_rewind_check(answer(Action::HandoverCrashed, "crash_handover",
                                    "PostgreSQL has died: " + plan.why + ". Handing over", plan.successor));
  }
  return answer(Action::StartLeader, "start_in_place",
                plan.why.empty() ? "PostgreSQL has died: starting it in place on the same timeline"
                                 : "PostgreSQL has died: " + plan.why + ". Starting it on the same timeline");
}

Decision recover_leader(const Situation& at) {
  if (!at.attached()) {
    return reattach();
  }
  if (!at.lease_fresh()) return answer(Action::None, "wait_lease", "waiting for a confirmed lease before the start");
  if (at.standby_cluster()) return answer(Action::StartReplica, "start_standby_leader", "starting as standby leader");
  if (at.self.start_failed || (at.self.no_race_until && at.now < *at.self.no_race_until)) {
    return with_rewind_check(
        answer(Action::ReleaseLeader, "start_failed",
               "PostgreSQL could not be started as the leader: leaving the lead to another member"));
  }
  // A server that was stopped cleanly has not died: nobody else may hold its last commits, and it starts in a moment.
  if (at.settings.primary_start_timeout == Duration::zero() && died_as_primary(at)) {
    if (!at.self.peers_asked) return answer(Action::None, "wait_request", "asking the other members");
    if (somebody_can_take_over(at, {}, false, nullptr)) {
      return with_rewind_check(
          answer(Action::ReleaseLeader, "fail_over_at_once", "PostgreSQL has died and primary_start_timeout is 0"));
    }
  }
  if (died_as_primary(at)) return after_crash(at);
  if (was_primary(at)) {
    return answer(Action::StartLeader, "start_in_place", "the leader's PostgreSQL is stopped: starting it");
  }
  return answer(Action::StartReplica, "start_before_promotion", "starting as a standby, to be promoted");
}

// The part that concerns histories: whether this server may follow the leader as it is. Empty: start it.
Answer compare_first(const Situation& at) {
  auto stage = at.self.rewind;
  const bool removable = at.settings.remove_data_directory_on_diverged_timelines && !at.standby_cluster();
  // Nothing can be compared in a directory with pages of two histories. It is tried again for as long as it takes,
  // unless a new copy is permitted.
  if (at.instance.half_rewound && !(stage == RewindStage::Failed && removable)) stage = RewindStage::Needed;
  if (stage == RewindStage::Needed) {
    const auto leader = at.view.leader->name;
    if (at.self.can_rewind) {
      return answer(Action::Rewind, "rewind", at.self.rewind_reason, leader);
    }
    if (removable) return answer(Action::Reclone, "reclone_diverged", at.self.rewind_reason, leader);
    return std::nullopt;
  }
  if (stage == RewindStage::Failed) {
    const bool remove = at.settings.remove_data_directory_on_rewind_failure || removable;
    if (!remove) return std::nullopt;
    return answer(Action::Reclone, "reclone_rewind_failed",
                  "pg_rewind failed, and the configuration permits a new copy", at.view.leader->name);
  }
  if (stage == RewindStage::Settled || !(at.self.can_rewind || removable)) return std::nullopt;
  const bool patient = !at.self.stopped_since || at.now < *at.self.stopped_since + kHistoryPatience;
  const auto* leader = at.view.leader_member();
  const bool comparable = leader != nullptr && leader->role == Role::Leader &&
                          leader->checkpoint_after_promote.value_or(true) && !leader->conn_url.empty();
  if (!comparable) {
    if (!patient) return std::nullopt;
    return answer(Action::None, "wait_leader_checkpoint",
                  "waiting for the leader's first checkpoint before the histories are compared");
  }
  // The end of WAL of a server that was killed is known only after crash recovery. On the leader's own timeline that
  // can be left to the ordinary start.
  const bool same_timeline = at.instance.control && at.instance.control->timeline == leader->timeline;
  if (died_as_primary(at) && !at.self.crash_recovered && !same_timeline && at.self.can_rewind) {
    return answer(Action::CrashRecover, "crash_recover",
                  "this server was killed as a primary: recovering it to learn where its WAL ends");
  }
  if (stage == RewindStage::Undecided && !patient) return std::nullopt;
  return answer(Action::CheckRewind, "compare_histories",
                fmt::format("comparing this server's WAL with the history of {}", leader->name.text()), leader->name);
}

}  // namespace

Decision recover(const Situation& at) {
  if (at.own_lock()) return recover_leader(at);
  if (at.self.retry_at && at.now < *at.self.retry_at) {
    return answer(Action::None, "backoff", "the last start failed; waiting a little");
  }
  if (at.locked()) {
    if (auto first = compare_first(at)) return *first;
  }
  if (at.instance.half_rewound) {
    return answer(Action::None, "half_rewound",
                  at.locked()
                      ? "a pg_rewind of the data directory was interrupted and pg_rewind is not possible here; "
                        "reinitialize this member"
                      : "a pg_rewind of the data directory was interrupted: waiting for a leader to rewind from");
  }
  const auto upstream = upstream_of(at.view, at.self);
  std::string reason = "starting as a standby";
  if (!upstream.empty()) reason += " of " + upstream.text();
  if (at.self.rewind == RewindStage::Needed) {
    reason += fmt::format("; it has diverged ({}) and pg_rewind is not possible here", at.self.rewind_reason);
  }
  return answer(Action::StartReplica, "start_replica", std::move(reason), upstream);
}

Answer starting(const Situation& at) {
  if (at.instance.postmaster != PostmasterState::Starting) return std::nullopt;
  if (at.own_lock()) {
    if (!at.attached()) {
      return reattach();
    }
    if (settings_want_failover_of_crashed(at) && at.self.peers_asked &&
        somebody_can_take_over(at, {}, false, nullptr)) {
      return with_rewind_check(answer(Action::DemoteRelease, "start_timeout",
                                      "the start as leader takes longer than primary_start_timeout"));
    }
    return answer(Action::None, "starting", "PostgreSQL is starting");
  }
  if (at.may_write()) {
    return with_rewind_check(
        answer(Action::DemoteNow, "starting_without_lock", "starting as a primary without the leader key"));
  }
  if (at.locked()) return std::nullopt;  // its upstream can be set while it replays
  return answer(Action::None, "starting", "PostgreSQL is starting");
}

}  // namespace pgvigil::ha
