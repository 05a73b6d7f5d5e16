// From what etcd or the agents' REST APIs say to what the pooler routes by.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/cluster_view.h"
#include "pool/cluster_state.h"

namespace pgvigil::follow {

// What a member's REST API said of its position (GET /patroni), newer than what it publishes in etcd.
struct LagSample {
  bool primary = false;
  Lsn position;                      // written, or replayed
  std::optional<WallTime> replayed;  // commit time of the last transaction that was replayed
};
using LagSamples = std::map<std::string, LagSample>;  // by member
std::optional<LagSample> parse_lag(const std::string& document);

pool::ClusterState state_of(const ClusterView& view, const LagSamples& samples, WallTime now);

// GET /cluster of members, as far as they answered. Members may contradict each other: the leader of the highest
// timeline is believed. Nothing: no document could be read.
std::optional<pool::ClusterState> state_of_documents(const std::vector<std::string>& documents);

}  // namespace pgvigil::follow
