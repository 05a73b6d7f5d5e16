// What an agent asks before it touches PostgreSQL: whether etcd lets it in, and whether somebody else has its name.
#pragma once

#include <string>

#include "api/peer_client.h"
#include "dcs/kv_store.h"
#include "model/ids.h"

namespace pgvigil::app {

struct Identity {
  std::string prefix;  // of the cluster's keys
  MemberName name;
  std::string api_url;
};

// Error: the agent has to end. Patroni ends likewise: neither a wrong password nor a name that is taken mends itself,
// and an agent that goes on hides it. An etcd that does not answer is no reason to end. Takes at most a few seconds.
Task<Result<void>> before_start(Clock& clock, dcs::KvStore& kv, api::PeerClient& peers, Identity self);

}  // namespace pgvigil::app
