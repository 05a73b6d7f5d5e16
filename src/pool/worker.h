// A worker thread: one event loop, the clients it was given, and its shard of every pool.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "netio/loop.h"
#include "pool/catalog.h"
#include "pool/client.h"
#include "pool/list.h"
#include "pool/pooler.h"
#include "pool/shard.h"

namespace pgvigil::pool {

class Worker {
 public:
  Worker(Pooler& pooler, std::size_t index, std::unique_ptr<netio::Loop> loop);
  ~Worker();

  void start();  // the thread
  void stop();   // and waits for it

  // --- from any thread
  void post(std::function<void()> call) { loop_->post(std::move(call)); }
  std::atomic<int> client_count{0};
  [[nodiscard]] std::size_t index() const { return index_; }

  // --- from its own thread
  void take_client(int fd, const ClientAddress& address, std::uint16_t listen_port);
  netio::Loop& loop() { return *loop_; }
  Pooler& pooler() { return pooler_; }
  [[nodiscard]] const RunningConfig& config() const { return *config_; }
  [[nodiscard]] const RunningConfigPtr& config_ptr() const { return config_; }
  [[nodiscard]] const poolcfg::Settings& settings() const { return config_->settings(); }
  [[nodiscard]] TimePoint now() const { return loop_->now(); }
  PoolShard& shard(Pool& pool);  // made on first use
  Client* login_by_id(std::uint64_t id);
  void adopt(RunningConfigPtr config);
  void adopt_cluster(ClusterStatePtr cluster);
  [[nodiscard]] const Route& route(poolcfg::ServerRole role) const { return routes_[static_cast<std::size_t>(role)]; }
  // Memory of clients and servers is freed at the end of the turn: callers up the stack may still look at them.
  void bury(std::unique_ptr<Client> client);
  void bury(std::unique_ptr<Server> server);
  void bury(std::shared_ptr<void> object);
  List<Client> clients;  // logged in
  List<Client> logins;   // not yet: looked at three times a second
  [[nodiscard]] const std::vector<PoolShard*>& shards() const { return shards_; }

  SeenTexts seen_texts;  // see prepare_unnamed
  std::string scratch;   // for a message that is being made up and sent at once

 private:
  void make_routes();
  void maintain();
  void check_idle_clients(TimePoint now);
  void arrange_burial();
  void empty_graveyard();

  Pooler& pooler_;
  std::size_t index_;
  std::unique_ptr<netio::Loop> loop_;
  RunningConfigPtr config_;
  ClusterStatePtr cluster_;
  std::array<Route, 3> routes_;     // by role
  std::vector<PoolShard*> shards_;  // owned by their pools
  std::vector<std::unique_ptr<Client>> dead_clients_;
  std::vector<std::unique_ptr<Server>> dead_servers_;
  std::vector<std::shared_ptr<void>> dead_objects_;
  bool burial_due_ = false;
  std::thread thread_;
};

}  // namespace pgvigil::pool
