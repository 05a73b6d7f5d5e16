// The order of the rules. Each table lies in a file of its own; the first answer counts.
#include "ha/decide.h"

#include <algorithm>

#include "ha/crash.h"
#include "ha/situation.h"
#include "ha/step_down.h"

namespace pgvigil::ha {
namespace {

// How long a server that was found running without any known deadline may wait for etcd's first answer.
constexpr Duration kAdoptionGrace = std::chrono::seconds(2);
constexpr Duration kRaceLook = std::chrono::milliseconds(500);
constexpr Duration kSyncLook = std::chrono::seconds(1);
constexpr Duration kHandshakeLook = std::chrono::milliseconds(200);

// etcd has not been read since this agent was started.
Decision without_view(const Situation& at) {
  if (at.paused() || !at.may_write()) {
    return answer(Action::None, "etcd_unread", "waiting for the first answer of etcd");
  }
  if (at.self.leader_until) {
    if (at.now >= *at.self.leader_until) {
      return answer(Action::DemoteNow, "adopted_deadline", "the adopted leader's deadline has passed without etcd");
    }
    if (at.now >= at.stop_begins()) {
      return answer(Action::DemoteOffline, "adopted_deadline",
                    "etcd has not answered and the adopted leader's deadline is near");
    }
    return answer(Action::None, "adopted", "an adopted primary waits for etcd within its deadline");
  }
  if (at.now < at.self.started + kAdoptionGrace) {
    return answer(Action::None, "etcd_unread", "waiting for the first answer of etcd");
  }
  return answer(Action::DemoteOffline, "unproven_primary",
                "PostgreSQL was found running as a primary, nothing proves "
                "that this member leads, and etcd does not answer");
}

}  // namespace

Decision decide(const ClusterView& view, const LocalState& self, TimePoint now) {
  const Situation at(view, self, now);
  if (auto busy = while_busy(at)) return *busy;
  if (!at.known()) return without_view(at);
  if (at.paused()) return while_paused(at);
  if (auto risk = lease_at_risk(at)) return *risk;
  if (self.instance.data_directory != DataDirectory::Present) return create(at);
  if (auto foreign = foreign_data(at)) return *foreign;
  if (auto wait = starting(at)) return *wait;
  if (at.stopped()) return recover(at);
  if (!at.locked()) return race(at);
  return at.own_lock() ? lead(at) : follow(at);
}

bool needs_peers(const ClusterView& view, const LocalState& self, TimePoint now) {
  const Situation at(view, self, now);
  if (!at.known() || self.operation != Operation::None) return false;
  if (at.own_lock()) {
    if (view.failover && request_is_due(at)) return true;
    if (at.paused()) return false;
    if (self.writes_stuck && at.running()) return true;
    const bool impatient = settings_want_failover_of_crashed(at);
    if (at.stopped() && self.wal_end && (at.flapping() || handover_is_quicker(self.wal_end->to_replay()))) return true;
    return impatient && (at.stopped() || self.instance.postmaster == PostmasterState::Starting);
  }
  if (at.locked() || self.instance.data_directory != DataDirectory::Present || !at.running()) return false;
  if (at.paused() && at.standby()) return view.failover.has_value();
  if (self.tags.nofailover && at.standby()) return false;
  return true;
}

TimePoint next_look(const ClusterView& view, const LocalState& self, const Decision& decision, TimePoint now) {
  const Situation at(view, self, now);
  TimePoint next = now + std::max<Duration>(at.settings.loop_wait, kRaceLook);
  const auto by = [&next, now](TimePoint when) {
    if (when > now) next = std::min(next, when);
  };
  if (!at.known()) by(now + kRaceLook);
  if (self.leader_until && (at.may_write() || self.operation != Operation::None)) {
    by(at.stop_begins());
    by(*self.leader_until);
  }
  // A standby that commits wait for may go away at any time, and nothing but the server tells.
  if (at.own_lock() && at.may_write() && at.settings.synchronous_mode != SyncMode::Off) by(now + kSyncLook);
  if (self.failed_leader_until) by(*self.failed_leader_until);
  if (self.failsafe_until) by(*self.failsafe_until);
  if (self.retry_at) by(*self.retry_at);
  if (self.no_race_until) by(*self.no_race_until);
  if (at.known() && !at.locked()) by(now + kRaceLook);
  if (decision.rule == "silent_member") by(now + kHandshakeLook);
  if (at.own_lock() && !at.attached()) by(now + kHandshakeLook);
  if (at.own_lock() && self.instance.postmaster == PostmasterState::Starting) by(now + kRaceLook);
  // A standby that is about to stream is published as such as soon as it does.
  if (at.standby() && decision.action == Action::Follow && !decision.target.empty() &&
      self.instance.replication_state != "streaming") {
    by(now + kRaceLook);
  }
  if (self.rewind == RewindStage::Due || self.rewind == RewindStage::Undecided) by(now + kRaceLook);
  if (decision.rule == "wait_leader_checkpoint" || decision.rule == "wait_request") by(now + kHandshakeLook);
  if (self.instance.postmaster == PostmasterState::Unresponsive) by(now + kRaceLook);
  if (view.failover && view.failover->scheduled_at) {
    const auto left = *view.failover->scheduled_at - self.wall;
    if (left > std::chrono::microseconds::zero()) by(now + left);
  }
  return next;
}

std::vector<MemberName> takeover_candidates(const ClusterView& view, const LocalState& self, TimePoint now,
                                            const MemberName& asked_for, bool any_state) {
  std::vector<MemberName> names;
  for (auto& candidate : candidates(Situation(view, self, now), asked_for, any_state)) {
    if (candidate.obstacle.empty()) names.push_back(std::move(candidate.name));
  }
  return names;
}

TimePoint deadline_of(TimePoint proven_until, Duration ttl) {
  return proven_until - std::max<Duration>(ttl / 10, std::chrono::milliseconds(500));
}

TimePoint begin_stop_at(TimePoint leader_until, Duration ttl) { return leader_until - ttl / 6; }

}  // namespace pgvigil::ha
