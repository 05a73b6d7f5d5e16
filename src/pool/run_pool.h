// The pooler as a process: from its command line's values to its end.
#pragma once

#include <functional>
#include <string>

#include "pool/cluster_follower.h"

namespace pgvigil::pool {

struct PoolOptions {
  std::string file;
  bool daemon = false, quiet = false;
  bool take_over = false;  // from the process that listens where this one is to listen
  int verbose = 0;
  std::string user;                                                                  // wins over the file's
  std::string version;                                                               // ours, for the log
  std::function<void(const std::string& state)> notify = [](const std::string&) {};  // the service manager
  StartFollower start_follower;                                                      // for a file with [cluster]
};

// Returns only when the start fails.
int run_pool(const PoolOptions& options);

// "PgBouncer 1.25.2" and the lines about libraries.
std::string pool_version_text(const std::string& own_version);

}  // namespace pgvigil::pool
