// Another member leads.
#include "ha/situation.h"
#include "ha/upstream.h"

namespace pgvigil::ha {
namespace {

bool streams_the_leaders_timeline(const Situation& at, const Member& leader) {
  return at.instance.replication_state == "streaming" && leader.timeline.known() &&
         at.instance.timeline == leader.timeline;
}

Answer repair(const Situation& at) {
  // A standby that never becomes consistent stays in its start: its point of consistency may lie outside of the
  // leader's history, when the leader it was rewound from did not live on.
  const bool waits = at.instance.postmaster == PostmasterState::Starting && at.instance.standby_configured;
  if (!(at.running() || waits) || at.paused()) return std::nullopt;
  if (at.self.retry_at && at.now < *at.self.retry_at) return std::nullopt;
  const auto* leader = at.view.leader_member();
  if (leader == nullptr) return std::nullopt;
  const bool removable = at.settings.remove_data_directory_on_diverged_timelines && !at.standby_cluster();
  if (!at.self.can_rewind && !removable) return std::nullopt;
  switch (at.self.rewind) {
    case RewindStage::Needed:
      if (at.self.can_rewind) return answer(Action::Rewind, "rewind", at.self.rewind_reason, leader->name);
      return answer(Action::Reclone, "reclone_diverged", at.self.rewind_reason, leader->name);
    case RewindStage::Due:
    case RewindStage::Undecided:
      if (streams_the_leaders_timeline(at, *leader)) return std::nullopt;
      if (leader->role != Role::Leader || !leader->checkpoint_after_promote.value_or(true) ||
          leader->conn_url.empty()) {
        return std::nullopt;
      }
      return answer(Action::CheckRewind, "compare_histories",
                    fmt::format("comparing this server's WAL with the history of {}", leader->name.text()),
                    leader->name);
    case RewindStage::Settled:
    case RewindStage::Failed: return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

MemberName upstream_of(const ClusterView& view, const LocalState& self) {
  if (self.tags.nostream || !view.leader || view.leader->name == self.name) return {};
  MemberName wanted(self.tags.replicatefrom);
  if (!wanted.empty() && wanted != self.name && view.member(wanted) != nullptr) {
    // Two members that name each other would stream from nobody: then both take the leader.
    const auto* other = view.member(wanted);
    if (other->tags.replicatefrom != self.name.text()) return wanted;
  }
  return view.leader->name;
}

Decision follow(const Situation& at) {
  if (at.may_write() && !at.paused()) {
    return with_rewind_check(
        answer(Action::DemoteNow, "not_the_leader",
               fmt::format("runs as a primary, and {} holds the leader key", at.view.leader->name.text())));
  }
  if (at.instance.postmaster == PostmasterState::Unresponsive) {
    return answer(Action::None, "unresponsive", "PostgreSQL runs and does not answer in time");
  }
  if (auto first = repair(at)) return *first;
  const auto upstream = upstream_of(at.view, at.self);
  if (upstream.empty()) {
    return answer(Action::Follow, "follow_nobody",
                  fmt::format("{} leads; this member does not stream", at.view.leader->name.text()));
  }
  const auto& leader = at.view.leader->name;
  return answer(Action::Follow, "follow",
                upstream == leader ? fmt::format("following the leader {}", leader.text())
                                   : fmt::format("following {}; {} leads", upstream.text(), leader.text()),
                upstream);
}

}  // namespace pgvigil::ha
