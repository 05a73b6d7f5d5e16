// Watches one cluster for the pooler: etcd by a watch; when etcd is away, the REST APIs of the members that are known;
// and keeps the pooler's key. Single-threaded, on the clock's executor.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "base/task_group.h"
#include "dcs/cluster_store.h"
#include "dcs/kv_store.h"
#include "follow/cluster_state.h"
#include "follow/local_socket.h"
#include "poolcfg/cluster_section.h"

namespace pgvigil::follow {

// GET of a URL; the result is the body, whatever the status.
using HttpGet = std::function<Task<Result<std::string>>(std::string url, TimePoint deadline)>;

struct FollowerOptions {
  poolcfg::ClusterSection section;
  Pooler self;                  // name, host, version and listen: what the key says
  std::string unix_socket_dir;  // of the pooler's settings
};

class Follower {
 public:
  Follower(Clock& clock, dcs::KvStore& kv, HttpGet get, Log log, FollowerOptions options,
           std::function<void(pool::ClusterState)> publish);

  void start();
  // Ends the tasks and gives the lease back.
  Task<void> stop(TimePoint deadline);
  void report(Term term, std::optional<PoolerDrain> drain);

 private:
  Task<void> keep_key();
  Task<Result<void>> write_key();
  Task<void> watch_rest();
  Task<void> ask_members();
  Task<void> watch_lag();
  Task<void> ask_lag(std::string name, std::string url);
  void view_changed();
  void publish(pool::ClusterState state);

  Clock& clock_;
  dcs::KvStore& kv_;
  HttpGet get_;
  Log log_;
  FollowerOptions options_;
  std::function<void(pool::ClusterState)> publish_;
  dcs::ClusterStore store_;
  LocalSockets sockets_;
  TaskGroup tasks_;
  Signal key_wake_, end_;
  std::map<std::string, std::string> api_urls_;  // of the members that were seen last
  SystemId system_id_;
  std::optional<pool::ClusterState> last_;
  LagSamples samples_;
  std::map<std::string, bool> asking_;
  Pooler self_;
  bool key_due_ = true, stopped_ = false;
  LeaseId lease_;
};

}  // namespace pgvigil::follow
