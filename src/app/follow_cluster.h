// What a pooler with [cluster] stands on: the etcd adapter and the client for the agents' REST APIs.
#pragma once

#include "pool/cluster_follower.h"

namespace pgvigil::app {

Result<std::unique_ptr<pool::ClusterFollower>> follow_cluster(pool::FollowerStart start);

}  // namespace pgvigil::app
