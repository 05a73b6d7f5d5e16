// Whom a standby streams from.
#pragma once

#include "model/cluster_view.h"
#include "model/local_state.h"

namespace pgvigil::ha {

// Empty: from nobody, or (in a standby cluster that this member leads) from the remote cluster.
MemberName upstream_of(const ClusterView& view, const LocalState& self);

}  // namespace pgvigil::ha
