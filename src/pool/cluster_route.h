// Which members serve a role, as a pure function of the cluster's state; and what the workers know of a member
// together.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "pool/cluster_state.h"
#include "poolcfg/cluster_section.h"

namespace pgvigil::pool {

struct RouteTarget {
  std::string member, host;
  int port = 5432;
  std::string socket_directory;  // empty: over TCP
  bool leader = false;
  friend bool operator==(const RouteTarget&, const RouteTarget&) = default;
};

struct Route {
  std::vector<RouteTarget> targets;
  std::uint64_t reign = 0;  // under which it holds
  bool held = true;         // nobody gets a server connection: who asks waits
  bool refused = false;     // who asks is told that no replica may serve
};

// Without a state (null: nothing is known yet) everybody waits.
Route make_route(const ClusterState* state, poolcfg::ServerRole role, const poolcfg::ClusterSection& section);

// Of one member, over all pools and workers.
struct MemberLoad {
  std::atomic<int> connections{0};
  std::atomic<int> active{0};                // with a client; counted only where there is a choice of members
  std::atomic<std::int64_t> avoid_until{0};  // after a failed attempt, nanoseconds since boot: others are tried first
};

// Entries stay for the life of the process: server connections refer to them.
class MemberLoads {
 public:
  MemberLoad& of(const std::string& member);
  [[nodiscard]] int connections(const std::string& member) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::unique_ptr<MemberLoad>> loads_;
};

// The target for a new connection: the fewest connections, of those that did not fail just now. `turn` decides between
// equals. Null: there is none.
const RouteTarget* choose_target(const Route& route, MemberLoads& loads, TimePoint now, unsigned turn);

}  // namespace pgvigil::pool
