// All that there is: the world, the network, etcd, the machines, the checker that watches them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "checker.h"
#include "etcd.h"
#include "machine.h"
#include "model/settings.h"
#include "network.h"
#include "poolers.h"
#include "rules.h"
#include "world.h"

namespace pgvigil::sim {

class Cluster {
 public:
  Cluster(World& world, const Rules& rules, std::size_t machines, std::string dynamic_config);
  ~Cluster();

  World& world;
  const Rules& rules;
  Network network;
  SimEtcd etcd;
  Checker checker;
  Poolers poolers;
  std::vector<std::unique_ptr<Machine>> machines;
  std::string dynamic_config;  // of the cluster's creation
  bool slow_promotions = false;
  bool bulk_writes = false;

  [[nodiscard]] std::uint64_t next_number() { return ++last_number_; }
  [[nodiscard]] Machine* find(const std::string& name) const;
  [[nodiscard]] Machine* primary() const;  // the one that accepts writes, if there is one
  [[nodiscard]] ClusterSettings settings() const;
  // An operator's request, as the REST API writes it.
  void request_failover(const std::string& leader, const std::string& candidate);
  static std::string key(const std::string& name) { return "/service/sim/" + name; }

 private:
  std::uint64_t last_number_ = 0;
};

}  // namespace pgvigil::sim
