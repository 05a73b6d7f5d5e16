#include "mutations.h"

namespace pgvigil::sim {
namespace {

using Change = std::function<void(ClusterView&, LocalState&)>;

// The real rules over changed inputs.
Rules with_inputs(Change change) {
  Rules rules;
  rules.decide = [change = std::move(change)](const ClusterView& view, const LocalState& self, TimePoint now) {
    ClusterView other_view = view;
    LocalState other_self = self;
    change(other_view, other_self);
    return ha::decide(other_view, other_self, now);
  };
  return rules;
}

Rules with_actions(std::function<void(const ClusterView&, const LocalState&, Decision&)> change) {
  Rules rules;
  rules.decide = [change = std::move(change)](const ClusterView& view, const LocalState& self, TimePoint now) {
    Decision decision = ha::decide(view, self, now);
    change(view, self, decision);
    return decision;
  };
  return rules;
}

Rules with(void (*change)(Rules&)) {
  Rules rules;
  change(rules);
  return rules;
}

// The steps of synchronous replication, with one of them changed.
Rules with_sync(std::function<void(const ClusterView&, LocalState&)> before,
                std::function<void(const ClusterView&, const LocalState&, ha::SyncStep&)> after) {
  Rules rules;
  rules.sync_step = [before = std::move(before), after = std::move(after)](const ClusterView& view,
                                                                           const LocalState& self) {
    LocalState other = self;
    if (before) before(view, other);
    ha::SyncStep step = ha::next_sync_step(view, other);
    if (after) after(view, other, step);
    return step;
  };
  return rules;
}

std::vector<Mutation> make_mutations() {
  std::vector<Mutation> all;
  all.push_back({"skip_deadline", "a leader stops its server before its lease can end",
                 with_inputs([](ClusterView&, LocalState& self) {
                   if (self.leader_until) self.leader_until = TimePoint::max();
                 })});
  all.push_back({"guard_sleeps", "the guard kills the server of an agent that is frozen or dead",
                 with([](Rules& rules) { rules.guard_strikes = false; })});
  all.push_back({"guard_late", "the guard strikes before the lease can end, not a moment after",
                 with([](Rules& rules) { rules.guard_late = 1s; })});
  all.push_back({"start_unguarded", "a primary is started only under an armed guard",
                 with([](Rules& rules) { rules.guard_before_exec = false; })});
  all.push_back({"skip_lag_check", "a member that lags more than maximum_lag_on_failover does not take the lead",
                 with_inputs([](ClusterView& view, LocalState&) {
                   view.settings.maximum_lag_on_failover = WalBytes(1LL << 40);
                 })});
  all.push_back({"ignore_compares", "the leader key is written only under a compare",
                 with([](Rules& rules) { rules.compares = false; })});
  all.push_back({"ignore_peers", "a member leaves the lead to one that has more WAL",
                 with_inputs([](ClusterView& view, LocalState& self) {
                   if (!view.led_by(self.name)) self.peers.clear();
                 })});
  all.push_back({"ignore_nofailover", "a member with the tag nofailover never leads",
                 with_inputs([](ClusterView&, LocalState& self) { self.tags.nofailover = false; })});
  all.push_back({"ignore_history", "a server that has left the cluster's history is not trusted as it is",
                 with_actions([](const ClusterView&, const LocalState&, Decision& decision) {
                   if (decision.action == Action::CheckRewind || decision.action == Action::Rewind ||
                       decision.action == Action::Reclone || decision.action == Action::CrashRecover) {
                     decision.action = Action::None;
                   }
                 })});
  all.push_back({"rewind_does_nothing", "a diverged server is rewound before it follows",
                 with([](Rules& rules) { rules.rewind_works = false; })});
  all.push_back({"trust_reports", "a handover waits until a member holds the shutdown checkpoint",
                 with([](Rules& rules) { rules.inflated_reports = true; })});
  all.push_back({"checkpoint_early", "a handover compares with the shutdown checkpoint, not with WAL before it",
                 with([](Rules& rules) { rules.checkpoint_tells_start = false; })});
  all.push_back({"reuse_timeline", "no timeline number is given out twice",
                 with([](Rules& rules) { rules.timelines_reserved = false; })});
  all.push_back({"watch_forgets", "a watch resumes where the last one ended",
                 with([](Rules& rules) { rules.watch_resumes = false; })});
  all.push_back({"compare_in_part", "a race is won only by a member that knows what the last leader left behind",
                 with([](Rules& rules) { rules.all_compares = false; })});
  all.push_back({"crash_end_unread", "a crashed leader's WAL is read to its end before it hands over",
                 with([](Rules& rules) { rules.wal_read_to_its_end = false; })});
  all.push_back({"crash_to_anyone", "a crashed leader hands over only to a member that holds all of its WAL",
                 with_inputs([](ClusterView&, LocalState& self) {
                   if (self.wal_end) self.wal_end->end = Lsn(self.wal_end->redo.value() + (1ULL << 30U));
                   for (auto& peer : self.peers) {
                     if (self.wal_end && peer.report) peer.report->wal_end = self.wal_end->end;
                   }
                 })});
  all.push_back({"sync_key_ignored", "only members that the sync key permits take the lead",
                 with_inputs([](ClusterView& view, LocalState&) { view.sync = SyncKey(); })});
  all.push_back({"quorum_unasked", "in quorum mode a member leads only with the votes that the key asks for",
                 with_inputs([](ClusterView& view, LocalState&) { view.sync.quorum = 0; })});
  all.push_back({"sync_unconfirmed", "a standby is a voter only once it holds what was committed before",
                 with_sync([](const ClusterView&, LocalState& self) { self.sync_sample = Lsn(1); }, {})});
  all.push_back({"sync_loosened_first", "commits stop to wait for a member only after it is no voter any more",
                 with_sync({}, [](const ClusterView& view, const LocalState& self, ha::SyncStep& step) {
                   // The key is left as it is, and the setting follows who is connected.
                   if (step.kind != ha::SyncStep::Kind::WriteKey || view.sync.standbys.empty()) return;
                   if (step.key.standbys.size() >= view.sync.standbys.size() || view.sync.leader != self.name) return;
                   step.kind = ha::SyncStep::Kind::SetNames;
                   step.names = ha::SyncNames();
                 })});
  all.push_back({"failsafe_silence", "failsafe mode carries a leader only while every member answers with its promise",
                 with([](Rules& rules) { rules.failsafe_silence_counts = true; })});
  all.push_back({"failsafe_promise_broken", "a member that has promised not to lead does not",
                 with([](Rules& rules) { rules.failsafe_promise_forgotten = true; })});
  all.push_back({"drain_stays", "poolers are not kept waiting when nothing is under way any more",
                 with([](Rules& rules) { rules.drain_taken_back = false; })});
  all.push_back({"never_release", "a leader that cannot start its server gives the lead up",
                 with_actions([](const ClusterView&, const LocalState&, Decision& decision) {
                   if (decision.action == Action::ReleaseLeader || decision.action == Action::DemoteRelease) {
                     decision.action = Action::None;
                   }
                 })});
  return all;
}

}  // namespace

const std::vector<Mutation>& mutations() {
  static const std::vector<Mutation> all = make_mutations();
  return all;
}

}  // namespace pgvigil::sim
