// Everything that lives while the pooler runs: the control thread's objects and the workers, in the order in which they
// have to be made. Made after the process has its final form (user, background), since threads start here.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "pool/blocking_auth.h"
#include "pool/cluster_control.h"
#include "pool/console.h"
#include "pool/handover.h"
#include "pool/listeners.h"
#include "pool/metrics.h"
#include "pool/pool_control.h"
#include "pool/pool_statistics.h"
#include "pool/run_pool.h"
#include "pool/signals.h"

namespace pgvigil::pool {

class PoolProcess {
 public:
  PoolProcess(const PoolOptions& options, RunningConfigPtr config, PoolLog& log, std::unique_ptr<netio::Loop> loop,
              std::size_t workers, std::vector<ListenSocket> sockets, std::unique_ptr<SignalSource> signals);
  ~PoolProcess();
  PoolProcess(const PoolProcess&) = delete;
  PoolProcess& operator=(const PoolProcess&) = delete;

  // Starts the workers and accepts clients. On the loop's thread.
  Result<void> start(std::optional<Takeover> takeover);
  void fail_start();                     // ends run() with status 1
  int run(std::function<void()> begin);  // until the end; the exit status

 private:
  Result<void> make_workers();
  void resolver_changed(const std::string& name, const std::vector<Address>& now);
  void check_login(Pooler::BlockingCheck check, netio::Loop& loop, std::function<void(bool right)> done);
  void confirm(Takeover& takeover);
  void serve_handover();
  void plan_period();
  void say_up();

  const PoolOptions& options_;
  PoolLog& log_;
  std::unique_ptr<netio::Loop> loop_;
  std::size_t worker_count_;
  Pooler pooler_;
  Listeners listeners_;
  Statistics statistics_;
  PoolControl control_;
  ClusterControl cluster_;
  std::unique_ptr<ConsoleSessions> console_;
  std::unique_ptr<MetricsServer> metrics_;
  BlockingAuth blocking_auth_;
  HandoverServer handover_;
  std::unique_ptr<SignalSource> signals_;
  bool unconfirmed_ = false;  // the sockets are another process's still
  int status_ = 0;
};

}  // namespace pgvigil::pool
