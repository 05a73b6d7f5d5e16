// The port to whoever watches the cluster (etcd, the agents' REST APIs), on a thread of its own. Production: room
// `follow`; tests have their own.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/error.h"
#include "model/pooler.h"
#include "pool/cluster_state.h"
#include "pool/log.h"
#include "poolcfg/cluster_section.h"

namespace pgvigil::pool {

class ClusterFollower {  // destroying it ends it
 public:
  virtual ~ClusterFollower() = default;
  // What the pooler's key in etcd says from now on: the term that it routes to, and what it has made of a drain
  // request.
  virtual void report(Term term, std::optional<PoolerDrain> drain) = 0;
};

struct FollowerStart {
  poolcfg::ClusterSection section;
  std::string listen;           // host:port, for the pooler's key
  std::string unix_socket_dir;  // a place where a member's Unix socket may be, too
  PoolLog& log;
  std::function<void(ClusterState)> publish;  // at each change; from any thread
};
using StartFollower = std::function<Result<std::unique_ptr<ClusterFollower>>(FollowerStart)>;

}  // namespace pgvigil::pool
