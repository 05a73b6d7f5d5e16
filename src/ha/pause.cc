// Maintenance mode: the operator has PostgreSQL in his hands; the agent only keeps etcd true.
#include "ha/situation.h"
#include "ha/step_down.h"

namespace pgvigil::ha {
namespace {

Decision paused_primary(const Situation& at) {
  if (at.own_lock()) {
    if (!at.attached()) {
      return reattach();
    }
    if (auto request = step_down(at)) return *request;
    return answer(Action::KeepLeading, "paused_leader", "leading, in maintenance mode");
  }
  if (at.locked()) {
    return answer(Action::None, "paused_second_primary",
                  fmt::format("runs as a primary although {} holds the leader key; left alone in maintenance mode",
                              at.view.leader->name.text()));
  }
  const bool fits =
      !at.view.initialize || at.view.initialize->empty() || *at.view.initialize == at.instance.system_id.text();
  if (!fits) return answer(Action::None, "paused_foreign", "runs another database system than the cluster");
  const auto& request = at.view.failover;
  if (request && !request->candidate.empty() && !at.is_me(request->candidate) &&
      at.view.member(request->candidate) != nullptr) {
    return answer(Action::None, "paused_candidate",
                  fmt::format("leaving the leader key to {}", request->candidate.text()));
  }
  return answer(Action::AcquireLeader, "paused_primary", "a running primary takes the free leader key");
}

Decision paused_standby(const Situation& at) {
  const auto& request = at.view.failover;
  const bool wanted = request && !request->scheduled_at && at.is_me(request->candidate);
  if (at.own_lock()) {
    if (at.standby_cluster()) return answer(Action::KeepLeading, "standby_leader", "leading the standby cluster");
    if (wanted || at.self.role == Role::Promoted || at.self.role == Role::Leader) {
      if (!at.attached()) {
        return answer(Action::ReattachLeader, "reattach", "the leader key is ours under an older lease");
      }
      return at.self.role == Role::Promoted || !at.lease_proven()
                 ? answer(Action::None, "promoting", "waiting for the end of the promotion")
                 : answer(Action::Promote, "promote", "promoting by the operator's order");
    }
    return answer(Action::ReleaseLeader, "paused_no_primary",
                  "holds the leader key and is no primary, in maintenance mode");
  }
  if (!at.locked() && wanted && !at.self.tags.nofailover) {
    return answer(Action::AcquireLeader, "manual_candidate", "the operator named this member");
  }
  if (!at.locked()) return answer(Action::None, "paused_no_leader", "no leader, in maintenance mode");
  return follow(at);
}

}  // namespace

Decision while_paused(const Situation& at) {
  if (at.instance.data_directory != DataDirectory::Present) {
    if (at.own_lock()) return answer(Action::ReleaseLeader, "no_data", "holds the leader key without a data directory");
    return answer(Action::None, "paused_no_data", "no data directory, and nothing is created in maintenance mode");
  }
  const auto& mine = at.instance.system_id;
  if (at.view.initialize && is_valid(SystemId(*at.view.initialize)) && is_valid(mine) &&
      *at.view.initialize != mine.text()) {
    if (at.own_lock()) {
      return answer(Action::ReleaseLeader, "paused_foreign", "the database system has changed in maintenance mode");
    }
    return answer(Action::None, "paused_foreign", "runs another database system than the cluster");
  }
  if (at.stopped()) {
    if (at.own_lock())
      return answer(Action::ReleaseLeader, "paused_stopped", "PostgreSQL is stopped, in maintenance mode");
    return answer(Action::None, "paused_stopped", "PostgreSQL stays stopped, in maintenance mode");
  }
  if (at.own_lock() && (!at.view.initialize || !is_valid(SystemId(*at.view.initialize))) && is_valid(mine)) {
    return answer(Action::WriteInitialize, "write_initialize", "recording the database system in etcd");
  }
  if (at.may_write()) return paused_primary(at);
  if (at.standby()) return paused_standby(at);
  return answer(Action::None, "paused_starting", "PostgreSQL is starting, in maintenance mode");
}

}  // namespace pgvigil::ha
