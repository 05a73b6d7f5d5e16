// The follower on a thread of its own, as the pooler's port wants it.
#pragma once

#include <functional>
#include <memory>

#include "follow/follower.h"
#include "pool/cluster_follower.h"

namespace pgvigil::follow {

// What the follower stands on; made on its thread's clock by whoever knows the adapters.
struct Adapters {
  std::unique_ptr<dcs::KvStore> kv;
  HttpGet get;
};
using MakeAdapters = std::function<Result<Adapters>(Clock& clock, Log log, const poolcfg::ClusterSection& section)>;

Result<std::unique_ptr<pool::ClusterFollower>> start_follower_thread(pool::FollowerStart start,
                                                                     const MakeAdapters& make_adapters,
                                                                     const std::string& version);

}  // namespace pgvigil::follow
