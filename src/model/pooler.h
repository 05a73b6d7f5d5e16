// The poolers of a cluster, and the leader's request that they drain: what agent and poolers tell each other through
// etcd before PostgreSQL stops on purpose.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/time.h"
#include "model/ids.h"
#include "model/lsn.h"

namespace pgvigil {

struct DrainRequest {  // the `drain` key
  std::string id;
  std::string reason;  // "switchover", "restart" or "shutdown"
  MemberName leader;
  Term term;            // the reign that it belongs to: in another one it means nothing
  Duration timeout{0};  // how long the leader waits
  Revision mod_revision;
};

struct PoolerDrain {  // what a pooler has made of it
  std::string id;
  bool drained = false;
  std::uint64_t active = 0;   // transactions in flight
  std::uint64_t waiting = 0;  // clients that are queued
};

struct Pooler {  // under poolers/<name>, for as long as it lives
  std::string name, host, version, listen;
  Term term;  // of the leader that it routes to
  std::optional<PoolerDrain> drain;
};

struct DrainNote {  // pgvigil/drain: how the last one went
  MemberName leader;
  Timeline timeline;  // that the leader was on
  std::string reason, timestamp;
  Duration waited{0};
  std::uint64_t poolers = 0, undrained = 0, active = 0;
};

}  // namespace pgvigil
