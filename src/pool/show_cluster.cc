// SHOW CLUSTER.
#include <fmt/format.h>

#include "pool/show.h"

namespace pgvigil::pool {
namespace {

using pgwire::kInt4;
using pgwire::kInt8;
using pgwire::kText;

Rows cluster(const Snapshot& snapshot) {
  Rows rows;
  if (!snapshot.cluster) return rows;
  const ClusterState& state = *snapshot.cluster;
  for (const ClusterMember& member : state.members) {
    int routed = 0;
    for (const MemberFact& fact : snapshot.members) {
      if (fact.name == member.name.text()) routed = fact.connections;
    }
    const bool leads = member.name == state.leader;
    rows.push_back(
        {cell(member.name.text()), leads ? cell("leader") : cell(to_string(member.role)),
         leads && state.draining ? cell("draining") : cell(to_string(member.state)),
         member.timeline.known() ? cell(member.timeline.value()) : std::nullopt,
         member.lag && !leads ? cell(*member.lag) : std::nullopt,
         member.lag_time && !leads ? cell(fmt::format("{:.3f}", seconds_of(*member.lag_time))) : std::nullopt,
         leads && state.term != Term() ? cell(state.term.value()) : std::nullopt, cell(routed), cell(member.host),
         cell(member.port), cell(member.socket_directory), cell(to_string(state.source))});
  }
  return rows;
}

}  // namespace

const std::vector<ShowTable>& cluster_tables() {
  static const std::vector<ShowTable> tables = {
      {"cluster",
       kNoFacts,
       {{"member", kText},
        {"role", kText},
        {"state", kText},
        {"timeline", kInt8},
        {"lag", kInt8},
        {"lag_time", kText},
        {"term", kInt8},
        {"routed", kInt4},
        {"host", kText},
        {"port", kInt4},
        {"socket", kText},
        {"seen_by", kText}},
       cluster},
  };
  return tables;
}

}  // namespace pgvigil::pool
