// Nobody holds the leader key: whether this member should take it. The key itself is decided by etcd's compare; these
// rules keep away members that would lose data, or that somebody better is about to overtake.
#include "ha/situation.h"

namespace pgvigil::ha {
namespace {

Decision wait(std::string_view rule, std::string reason) { return answer(Action::None, rule, std::move(reason)); }

Decision take(std::string_view rule, std::string reason) {
  return answer(Action::AcquireLeader, rule, std::move(reason));
}

struct HealthCheck {
  bool only_sync = false;  // compare only with members of the `sync` key
  MemberName without;      // leave this member out
};

// Whether `peer` holds more of the cluster's history than this member.
bool is_ahead(const Situation& at, const PeerReport& peer) {
  if (at.standby_cluster()) return peer.wal_end > at.instance.wal_end();
  if (ancestry(at.view, peer.timeline, peer.wal_end) == Ancestry::Diverged) return false;
  if (peer.timeline.known() && at.instance.timeline.known() && peer.timeline != at.instance.timeline) {
    return peer.timeline > at.instance.timeline;
  }
  return peer.wal_end > at.instance.wal_end();
}

// The sentence that says why a peer should lead instead; empty: it does not stand in the way.
std::string veto_of(const Situation& at, const PeerReport& peer) {
  const auto name = peer.name.text();
  if (peer.running_as_primary) return name + " still runs as a primary";
  const bool sync_leader = at.sync_active() && at.view.sync.leader == peer.name;
  if (is_ahead(at, peer) && !sync_leader) {
    return fmt::format("{} is ahead: {} on timeline {}, here {} on timeline {}", name, to_string(peer.wal_end),
                       peer.timeline.value(), to_string(at.instance.wal_end()), at.instance.timeline.value());
  }
  const bool equal = peer.wal_end == at.instance.wal_end() && peer.timeline == at.instance.timeline;
  if (equal && peer.tags.failover_priority > at.self.tags.failover_priority && peer.name != at.self.former_leader) {
    return fmt::format("{} has the higher failover_priority", name);
  }
  return {};
}

// Whether whoever holds WAL up to `end` lacks more of the last leader's than a failover may lose.
bool lags_too_far(const Situation& at, Lsn end) {
  return at.view.status.optime > end && at.view.status.optime - end > at.settings.maximum_lag_on_failover;
}

// Empty: healthy. Else the reason why not.
std::string unhealthy(const Situation& at, const HealthCheck& check) {
  const Lsn mine = at.instance.wal_end();
  if (lags_too_far(at, mine)) {
    return fmt::format("lags {} bytes behind the last leader, more than maximum_lag_on_failover",
                       static_cast<std::int64_t>(at.view.status.optime - mine));
  }
  if (!at.standby_cluster()) {
    if (at.settings.check_timeline && (!at.instance.timeline.known() || at.instance.timeline < at.view.timeline())) {
      return fmt::format("is on timeline {}, the cluster on {}", at.instance.timeline.value(),
                         at.view.timeline().value());
    }
    if (ancestry(at.view, at.instance.timeline, mine) == Ancestry::Diverged) {
      return fmt::format(
          "holds WAL of timeline {} up to {}, which the cluster has left behind; only a failover to this "
          "member by name overrides that",
          at.instance.timeline.value(), to_string(mine));
    }
  }
  for (const auto& peer : at.self.peers) {
    if (!peer.report || peer.name == check.without) continue;
    if (check.only_sync && !at.in_sync_key(peer.name)) continue;
    if ((peer.report->tags.nofailover && !peer.report->running_as_primary) || peer.report->watchdog_failed) continue;
    if (auto veto = veto_of(at, *peer.report); !veto.empty()) return veto;
  }
  return {};
}

// Quorum mode: enough voters must confirm that they have no more than we.
std::string no_quorum(const Situation& at) {
  const auto& sync = at.view.sync;
  std::int64_t votes = at.in_sync_key(at.self.name) ? 0 : -1;
  for (const auto& peer : at.self.peers) {
    if (peer.report && at.in_sync_key(peer.name) && peer.report->wal_end.known() &&
        peer.report->wal_end <= at.instance.wal_end()) {
      ++votes;
    }
  }
  if (votes >= static_cast<std::int64_t>(sync.quorum) || at.is_me(sync.leader)) return {};
  return fmt::format("{} of the {} votes that the quorum needs", votes, sync.quorum);
}

// This member is known to lack something, and another that lives has not said yet what it has: it may be starting. Whom
// to wait for; null: nobody, or long enough.
const Member* still_silent(const Situation& at) {
  if (at.view.status.optime <= at.instance.wal_end() || !at.self.no_leader_since) return nullptr;
  if (at.now - *at.self.no_leader_since >= at.settings.ttl / 2) return nullptr;
  for (const auto& member : at.view.members) {
    if (at.is_me(member.name) || member.tags.nofailover || member.api_url.empty()) continue;
    if (at.report_of(member.name) == nullptr) return &member;
  }
  return nullptr;
}

Decision race_by_health(const Situation& at, HealthCheck check) {
  if (at.sync_active()) {
    const bool quorum = at.votes_count();
    if (!quorum && !at.in_sync_key(at.self.name)) {
      return wait("not_synchronous", "was not synchronous with the last leader: promoting it could lose commits");
    }
    check.only_sync = !quorum;
    if (quorum) {
      if (auto why = no_quorum(at); !why.empty()) return wait("no_quorum", std::move(why));
    }
  }
  if (auto why = unhealthy(at, check); !why.empty()) return wait("not_healthiest", std::move(why));
  if (const auto* silent = still_silent(at)) {
    return wait("silent_member",
                fmt::format("{} lives and has not said what it holds; this member lacks {} bytes", silent->name.text(),
                            static_cast<std::int64_t>(at.view.status.optime - at.instance.wal_end())));
  }
  return take("healthiest", "no leader, and no reachable member has more WAL");
}

bool can_take_the_lead(const Situation& at, const MemberName& name) {
  const auto* report = at.report_of(name);
  if (at.outside_failsafe(name)) return false;
  return report != nullptr && !report->tags.nofailover && !report->watchdog_failed && !report->running_as_primary;
}

// Whether the rules will let `peer` take the lead that this member has just given up.
bool will_take_the_lead(const Situation& at, const PeerReport& peer) {
  if (lags_too_far(at, peer.wal_end)) return false;
  if (at.settings.check_timeline && peer.timeline < at.view.timeline()) return false;
  return at.standby_cluster() || ancestry(at.view, peer.timeline, peer.wal_end) != Ancestry::Diverged;
}

// A member whose PostgreSQL keeps failing leaves the lead to another that may and will take it. Whose lead it would be;
// null: nobody's, and a lead that flaps is better than none.
const PeerReport* somebody_steadier(const Situation& at) {
  // It would have taken it by now. Two members that flap must not wait for each other.
  const bool patient = at.self.no_leader_since && at.now - *at.self.no_leader_since < at.settings.ttl / 2;
  if (!at.flapping() || !patient) return nullptr;
  for (const auto& peer : at.self.peers) {
    const bool permitted = !at.sync_active() || at.in_sync_key(peer.name);
    // What it lacks this member has: those commits would be lost.
    if (permitted && can_take_the_lead(at, peer.name) && will_take_the_lead(at, *peer.report) &&
        !(at.instance.wal_end() > peer.report->wal_end)) {
      return &*peer.report;
    }
  }
  return nullptr;
}

// The rules while the `failover` key names somebody.
Decision race_by_request(const Situation& at) {
  const auto& request = *at.view.failover;
  const bool sync_on = at.sync_active() && !at.votes_count();
  // A switchover promises that nothing is lost: being named does not help a member that lacks what the old leader had
  // when it gave the key up (a request may be replaced half-way). A failover by name is an order.
  const auto fits = [&](Lsn wal_end) { return !request.is_switchover() || wal_end >= at.view.status.optime; };
  // The position is of no help when the leader died before it stepped down: then the key decides.
  const bool bound = request.is_switchover() && at.sync_active();
  const bool may_take = !bound || (at.votes_count() ? no_quorum(at).empty() : at.in_sync_key(at.self.name));
  if (at.is_me(request.candidate) && may_take && fits(at.instance.wal_end())) {
    return take("manual_candidate", "the operator named this member");
  }
  const auto* named = at.report_of(request.candidate);
  // To leave the lead to somebody who may not take it either would leave the cluster without one.
  const bool named_may = named != nullptr && fits(named->wal_end) &&
                         (!bound || (at.in_sync_key(request.candidate) && named->wal_end >= at.instance.wal_end()));
  if (!request.candidate.empty() && !at.is_me(request.candidate) && named_may) {
    if (sync_on && !at.in_sync_key(at.self.name)) {
      return wait("not_synchronous", "was not synchronous with the last leader");
    }
    if (can_take_the_lead(at, request.candidate)) {
      return wait("leave_to_candidate", fmt::format("leaving the lead to {}", request.candidate.text()));
    }
  }
  if (at.is_me(request.leader)) {
    for (const auto& peer : at.self.peers) {
      if (peer.name != request.candidate && can_take_the_lead(at, peer.name) && will_take_the_lead(at, *peer.report)) {
        return wait("stepped_down", fmt::format("has just stepped down; {} can take over", peer.name.text()));
      }
    }
    return race_by_health(at, {});
  }
  // The lag counts here too: the old leader gave the key up because some member held everything, and that need not be
  // this one.
  HealthCheck check;
  check.without = request.leader;
  return race_by_health(at, check);
}

// A switchover that names a leader who does not lead any more was overtaken by events.
bool request_counts(const Situation& at) {
  const auto& request = at.view.failover;
  if (!request || request->scheduled_at) return false;
  return !request->is_switchover() || at.self.former_leader.empty() || request->leader == at.self.former_leader;
}

Decision race_as_primary(const Situation& at) {
  if (at.instance.timeline.known() && at.view.timeline().known() && at.instance.timeline < at.view.timeline()) {
    return with_rewind_check(answer(Action::DemoteNow, "old_timeline",
                                    fmt::format("a primary on timeline {} while the cluster has reached {}",
                                                at.instance.timeline.value(), at.view.timeline().value())));
  }
  for (const auto& peer : at.self.peers) {
    if (peer.report && peer.report->running_as_primary) {
      return with_rewind_check(answer(Action::DemoteNow, "second_primary",
                                      fmt::format("without the leader key while {} is a primary", peer.name.text())));
    }
  }
  return take("running_primary", "a running primary takes the free leader key");
}

}  // namespace

Decision race(const Situation& at) {
  if (at.instance.postmaster == PostmasterState::Unresponsive) {
    return wait("unresponsive", "PostgreSQL runs and does not answer in time");
  }
  if (at.self.no_race_until && at.now < *at.self.no_race_until) {
    if (at.may_write()) {
      return with_rewind_check(answer(Action::DemoteNow, "no_race", "a primary that has just failed as leader"));
    }
    return wait("no_race", "failed as leader a moment ago: leaving the lead to others");
  }
  if (at.may_write()) {
    if (!at.self.peers_asked) return wait("wait_peers", "asking the other members");
    return race_as_primary(at);
  }
  if (at.self.failsafe_until) {
    return wait("failsafe",
                "no leader in etcd; a leader that cannot reach it has this member's promise, or may have it");
  }
  if (at.self.tags.nofailover) return wait("nofailover", "no leader; this member has the tag nofailover");
  if (at.self.watchdog_required && at.self.watchdog_failed) {
    return wait("watchdog", "no leader; the watchdog is required and unusable here");
  }
  if (at.outside_failsafe(at.self.name)) {
    return wait("not_in_failsafe", "no leader; this member is not in the failsafe list");
  }
  const bool requested = request_counts(at);
  const bool ordered = requested && at.is_me(at.view.failover->candidate) && !at.view.failover->is_switchover();
  if (!at.self.peers_asked && !ordered) {
    return wait("wait_peers", "no leader; asking the other members");
  }
  if (requested) return race_by_request(at);
  if (const auto* steadier = somebody_steadier(at)) {
    return wait("flapping", fmt::format("PostgreSQL has failed here again and again: leaving the lead to {}",
                                        steadier->name.text()));
  }
  return race_by_health(at, {});
}

}  // namespace pgvigil::ha
