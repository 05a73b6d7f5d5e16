// Rules that come before all others: what runs already, what must not run on, and what does not belong here.
#include "ha/situation.h"

namespace pgvigil::ha {
namespace {

bool leads_by_operation(const Situation& at) {
  switch (at.self.operation) {
    case Operation::StartPrimary:
    case Operation::Promote: return true;
    case Operation::Restart: return at.self.role == Role::Leader;
    case Operation::Handover: return at.may_write() && at.self.role == Role::Leader;  // it has not stopped yet
    default: return false;
  }
}

std::string holder(const Situation& at) { return at.locked() ? at.view.leader->name.text() : std::string("nobody"); }

}  // namespace

Answer while_busy(const Situation& at) {
  if (at.self.operation == Operation::None) return std::nullopt;
  if (leads_by_operation(at) && at.known() && !at.paused() && !at.standby_cluster()) {
    if (!at.own_lock()) {
      return with_rewind_check(answer(
          Action::DemoteNow, "lost_lock_busy",
          fmt::format("{} holds the leader key while this member was {}", holder(at), to_string(at.self.operation))));
    }
    if (!at.lease_fresh()) {
      return with_rewind_check(
          answer(Action::DemoteNow, "lease_unproven_busy",
                 fmt::format("the lease could not be renewed while this member was {}", to_string(at.self.operation))));
    }
    if (!at.attached() && at.self.lease.known() && !at.self.lead_doubtful) return reattach();
  }
  return answer(Action::None, "busy", std::string(to_string(at.self.operation)));
}

Answer lease_at_risk(const Situation& at) {
  // Without the key: race() and follow() decide, unless the members' answers are what it leads by.
  if (!at.may_write() || (!at.own_lock() && (at.locked() || !at.self.leader_until))) return std::nullopt;
  if (!at.self.leader_until) {
    // Found running, the key has our name under an unknown lease, and no guard knew a deadline: it is ours again as
    // soon as the compare says so, and until then nothing proves it.
    if (!at.attached() && at.self.lease.known()) {
      return reattach();
    }
    return at.attached()
               ? std::nullopt
               : Answer(answer(Action::None, "wait_lease", "waiting for a lease before the key is re-attached"));
  }
  if (at.now >= *at.self.leader_until) {
    return with_rewind_check(answer(Action::DemoteNow, "lease_unproven", "the leader lease can no longer be proven"));
  }
  if (at.now >= at.stop_begins()) {
    return with_rewind_check(answer(Action::DemoteOffline, "etcd_down",
                                    "etcd has not confirmed the lease, and the time left is needed to stop"));
  }
  return std::nullopt;
}

Answer foreign_data(const Situation& at) {
  const auto& mine = at.instance.system_id;
  if (!is_valid(mine)) {
    return answer(Action::None, "system_id_unknown",
                  "the data directory has no readable system identifier; reinitialize this member if that stays");
  }
  const bool initialized = at.view.initialize && is_valid(SystemId(*at.view.initialize));
  if (initialized) {
    if (*at.view.initialize == mine.text()) return std::nullopt;
    return answer(
        Action::Exit, "foreign_system",
        fmt::format("this data directory belongs to the database system {}, the cluster is {}: another scope, "
                    "or a data directory to be removed",
                    mine.text(), *at.view.initialize));
  }
  const bool claimed = at.view.initialize && at.view.initialize->empty() && at.view.bootstrap_alive &&
                       at.view.bootstrap_owner != at.self.name;
  if (claimed && !at.own_lock()) {
    return answer(Action::None, "wait_bootstrap",
                  fmt::format("{} creates the cluster, and this data directory has one of its own",
                              at.view.bootstrap_owner.text()));
  }
  if (at.own_lock() || (at.self.first_step && !at.locked())) {
    // A standby may belong to a cluster that is being taken over node by node, whose primary has to come first.
    if (!at.own_lock() && at.standby()) {
      return answer(
          Action::Exit, "standby_first",
          "the cluster is unknown to etcd and this is a running standby: start the agent of the primary first");
    }
    return answer(Action::WriteInitialize, "write_initialize",
                  fmt::format("recording the database system {} in etcd", mine.text()));
  }
  return std::nullopt;
}

}  // namespace pgvigil::ha
