// The inputs of a decision with the questions that many rules ask of them. Inside ha/ only.
#pragma once

#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>

#include "ha/decide.h"
#include "model/cluster_view.h"
#include "model/decision.h"
#include "model/local_state.h"

namespace pgvigil::ha {

using Answer = std::optional<Decision>;  // empty: this rule does not apply, ask the next one

inline Decision answer(Action action, std::string_view rule, std::string reason, MemberName target = {}) {
  return {action, rule, std::move(reason), std::move(target), false};
}
inline Decision with_rewind_check(Decision decision) {
  decision.rewind_check_due = true;
  return decision;
}

inline Decision reattach() {
  return answer(Action::ReattachLeader, "reattach", "the leader key carries this member's name under an older lease");
}

class Situation {
 public:
  Situation(const ClusterView& view_in, const LocalState& self_in, TimePoint now_in)
      : view(view_in), self(self_in), instance(self_in.instance), settings(view_in.settings), now(now_in) {}

  const ClusterView& view;
  const LocalState& self;
  const Instance& instance;
  const ClusterSettings& settings;
  const TimePoint now;

  [[nodiscard]] bool known() const { return view.revision.value() != 0; }  // etcd was read at least once
  [[nodiscard]] bool locked() const { return view.leader.has_value(); }
  [[nodiscard]] bool own_lock() const { return view.led_by(self.name); }
  // The key is ours under our lease, and no write of ours may have given it up meanwhile.
  [[nodiscard]] bool attached() const {
    return own_lock() && !self.lead_doubtful && self.lease.known() && view.leader->lease == self.lease;
  }
  [[nodiscard]] bool paused() const { return settings.pause; }
  [[nodiscard]] bool standby_cluster() const { return settings.standby_cluster.has_value(); }

  [[nodiscard]] bool running() const { return instance.postmaster == PostmasterState::Running; }
  [[nodiscard]] bool stopped() const { return instance.postmaster == PostmasterState::Stopped; }
  [[nodiscard]] bool standby() const { return running() && instance.in_recovery; }
  // Whether this server accepts writes or may do so without another order of ours. A server that does not answer is
  // what it was; one that starts without standby.signal becomes a primary by itself.
  [[nodiscard]] bool may_write() const {
    switch (instance.postmaster) {
      case PostmasterState::Running: return !instance.in_recovery;
      case PostmasterState::Starting: return !instance.standby_configured;
      case PostmasterState::Unresponsive:
        // Adopted by an agent that has not heard of it yet: the guard that watches it knows what it was.
        if (self.role == Role::Uninitialized && self.leader_until) return true;
        return self.role == Role::Leader || self.role == Role::Promoted;
      case PostmasterState::Stopped: return false;
    }
    return false;
  }
  [[nodiscard]] bool is_me(const MemberName& name) const { return name == self.name; }
  [[nodiscard]] const PeerReport* report_of(const MemberName& name) const {
    for (const auto& peer : self.peers) {
      if (peer.name == name && peer.report) return &*peer.report;
    }
    return nullptr;
  }
  [[nodiscard]] bool lease_proven() const { return self.leader_until && now < *self.leader_until; }
  // A ttl that has just been raised asks for more time to stop than the lease in force ever had.
  [[nodiscard]] TimePoint stop_begins() const {
    const bool raised = self.lead_ttl > Duration::zero() && self.lead_ttl < settings.ttl;
    return begin_stop_at(*self.leader_until, raised ? self.lead_ttl : settings.ttl);
  }
  // Proven for long enough to begin something with it: a server that starts now is not stopped again at once.
  [[nodiscard]] bool lease_fresh() const { return self.leader_until && now < stop_begins(); }
  // Synchronous replication is in force: the `sync` key names who may lead.
  [[nodiscard]] bool sync_active() const {
    return settings.synchronous_mode != SyncMode::Off && !standby_cluster() && !view.sync.leader.empty();
  }
  // Nobody outside of the failsafe key may lead: a leader that goes on without etcd does not ask them.
  [[nodiscard]] bool outside_failsafe(const MemberName& name) const {
    return settings.failsafe_mode && view.failsafe_present && !view.failsafe.empty() &&
           view.failsafe.count(name.text()) == 0;
  }
  // PostgreSQL has failed here again and again: others shall lead for a while.
  [[nodiscard]] bool flapping() const { return self.failed_leader_until && now < *self.failed_leader_until; }
  // The key was written for votes, also while the mode has just been changed and no leader has adapted it yet.
  [[nodiscard]] bool votes_count() const {
    return settings.synchronous_mode == SyncMode::Quorum || view.sync.quorum > 0;
  }
  [[nodiscard]] bool in_sync_key(const MemberName& name) const {
    return view.sync.leader == name ||
           std::find(view.sync.standbys.begin(), view.sync.standbys.end(), name) != view.sync.standbys.end();
  }
};

// The rule tables, each in its own file.
Answer while_busy(const Situation& at);     // an operation is under way
Answer lease_at_risk(const Situation& at);  // a server that may write without proof of its lease
Decision while_paused(const Situation& at);
Decision create(const Situation& at);      // no data directory
Answer foreign_data(const Situation& at);  // the directory and the cluster do not belong together
Decision recover(const Situation& at);     // no postmaster
Answer starting(const Situation& at);      // a postmaster that does not accept connections yet
Decision race(const Situation& at);        // nobody holds the leader key
Decision lead(const Situation& at);        // we hold it
Decision follow(const Situation& at);      // somebody else does

// How a member that is behind a later timeline relates to the known history.
enum class Ancestry : std::uint8_t {
  Unknown,   // a timeline or the history is not known
  Current,   // on the cluster's timeline or a later one
  Ancestor,  // on an earlier timeline and not past the point where it was left
  Diverged,  // holds WAL of an earlier timeline that the cluster has left behind
};
Ancestry ancestry(const ClusterView& view, Timeline timeline, Lsn position);

}  // namespace pgvigil::ha
