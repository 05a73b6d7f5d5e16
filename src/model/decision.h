// What to do next and why: the result of ha::decide.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "model/ids.h"
#include "model/lsn.h"

namespace pgvigil {

enum class Action : std::uint8_t {
  None,             // nothing to do
  ClaimInitialize,  // race for the right to create the cluster
  Bootstrap,        // create the cluster; the `initialize` key is ours and empty
  WriteInitialize,  // the key is missing or invalid: write the system identifier
  Clone,            // create a replica from `target` (empty target: by a method that needs no leader)
  CrashRecover,     // single-user crash recovery, so that pg_rewind can run
  StartLeader,      // start in place as primary on the same timeline; the leader key is ours
  StartReplica,     // start as a standby of `target` (empty: of nobody)
  Follow,           // running standby: stream from `target` (empty: from nobody)
  CheckRewind,      // compare timelines and positions with the leader `target`
  Rewind,           // pg_rewind from the leader `target`
  Reclone,          // remove the data directory and clone: rewind failed or is impossible, and this is permitted
  AcquireLeader,    // take the leader key
  ReattachLeader,   // the key has our name under another lease
  ReleaseLeader,    // give the leader key up; PostgreSQL is not a primary
  Promote,
  KeepLeading,      // leader with the lock: slots, history, status, synchronous set
  Handover,         // clean demotion in favour of `target` (empty: of any member that has everything)
  DemoteNow,        // the lease is lost or unproven: stop immediately, do not touch the key
  DemoteRelease,    // stop immediately, then release the key, which is still ours
  DemoteOffline,    // etcd is away: stop within what is left of the lease, come back as a replica
  DemoteCluster,    // this became a standby cluster: stop, keep the key, come back as standby leader
  FindWalEnd,       // the leader's server has died: how far its WAL goes
  HandoverCrashed,  // give the lead up to `target`, which holds all WAL of this server, whose PostgreSQL has died
  ClearFailover,    // the failover request is void
  Exit,             // the agent must end; see reason
};

std::string_view to_string(Action action);

struct Decision {
  Action action = Action::None;
  std::string_view rule;  // the rule's name: log, REST and history show it
  std::string reason;     // the sentence
  MemberName target;
  bool rewind_check_due = false;  // arm the rewind check along with this action
};

}  // namespace pgvigil
