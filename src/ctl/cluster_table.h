// `list` and `topology` as tables, from the view of a cluster. Pure.
#pragma once

#include <string>

#include "ctl/table.h"
#include "model/cluster_view.h"

namespace pgvigil::ctl {

struct ListOptions {
  bool topology = false;
  bool extended = false;
  Format format = Format::Pretty;
  bool colours = false;  // the leader bold, who neither runs nor streams red
};

// The table with what follows it (maintenance mode, scheduled switchover).
std::string cluster_table(const ClusterView& view, const std::string& scope, const ListOptions& options);
// What the `config` key says of maintenance mode.
bool is_paused(const ClusterView& view);
std::string history_table(const ClusterView& view, Format format);
// What was changed in the dynamic configuration, and when.
std::string config_history_table(const ClusterView& view, Format format);

}  // namespace pgvigil::ctl
