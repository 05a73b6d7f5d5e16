// What is known of the cluster that the pooler follows: a value, made by whoever watches it, handed to every worker.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "model/ids.h"
#include "model/lsn.h"
#include "model/member.h"
#include "model/pooler.h"

namespace pgvigil::pool {

struct ClusterMember {
  MemberName name;
  std::string host;
  int port = 5432;
  std::string socket_directory;  // of its Unix socket when it is on this machine and may be used; else empty
  Role role = Role::Uninitialized;
  InstanceState state = InstanceState::Stopped;
  Timeline timeline;
  std::optional<std::int64_t> lag;   // bytes that it has not replayed; unknown of a leader
  std::optional<Duration> lag_time;  // age of the last transaction that it has replayed; zero when it has all
  bool noloadbalance = false;
  [[nodiscard]] bool runs() const { return state == InstanceState::Running; }
};

struct ClusterState {
  // Where it comes from. Nobody: neither etcd nor an agent answers, and the last known state stands.
  enum class Source : std::uint8_t { Nobody, Etcd, Rest } source = Source::Nobody;
  MemberName leader;  // empty: nobody leads
  Term term;          // of the leader; 0 when only the REST API tells who leads
  std::vector<ClusterMember> members;
  std::optional<DrainRequest> drain;
  // --- added by ClusterControl
  std::uint64_t reign =
      0;                  // number of the reign in this process: another one begins when one ends, or a new one begins
  bool draining = false;  // the leader's connections are given to nobody

  [[nodiscard]] const ClusterMember* member(const MemberName& name) const {
    for (const ClusterMember& member : members) {
      if (member.name == name) return &member;
    }
    return nullptr;
  }
};
using ClusterStatePtr = std::shared_ptr<const ClusterState>;

std::string_view to_string(ClusterState::Source source);

// Whether the server connections of the one may go on under the other. A term that is not known fits any.
bool same_reign(const ClusterState& before, const ClusterState& now);

}  // namespace pgvigil::pool
