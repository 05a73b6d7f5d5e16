// The JSON documents of the REST API, built from one reading of the node. The order of the keys is Patroni's; what
// pgvigil adds is under "pgvigil", last.
#pragma once

#include <optional>
#include <string>

#include "api/json.h"
#include "api/observed.h"

namespace pgvigil::api {

struct Versions {
  std::string patroni;  // the interface version that is published to peers: dotted integers
  std::string pgvigil;
};

Json status_document(const Observed& node, const Versions& versions);

// GET /cluster. `view` as etcd told it.
Json cluster_document(const ClusterView& view, const std::string& scope);

// The keys as stored; empty: there is none, or it cannot be read.
std::optional<Json> history_document(const ClusterView& view);
std::optional<Json> config_document(const ClusterView& view);
std::optional<Json> failsafe_document(const ClusterView& view);

}  // namespace pgvigil::api
