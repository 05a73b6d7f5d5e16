// What a rolling restart restarts, and who takes the lead over. Pure.
#pragma once

#include <string>
#include <vector>

#include "model/cluster_view.h"

namespace pgvigil::ctl {

struct RollingPlan {
  std::vector<std::string> replicas;  // in this order, before the leader
  bool leader = false;
};
RollingPlan plan_rolling(const ClusterView& view, bool only_pending);

// Of the members that stream from the leader one that may lead, one of `fresh` rather than another; empty: there is
// none.
std::string successor_of(const ClusterView& view, const std::vector<std::string>& streaming,
                         const std::vector<std::string>& fresh);

}  // namespace pgvigil::ctl
