// The dynamic configuration: the JSON object under etcd's `config` key. Patroni documentation, "Dynamic Configuration
// Settings". One text serves Patroni members and pgvigil members; unknown keys are kept and ignored.
//
// Lower bounds differ by design: pgvigil follows ttl down to 3 s, loop_wait and retry_timeout down to 1 s. Patroni
// members of the same cluster use at least 20, 1 and 3 s; whoever goes below them gets a warning that says so.
#pragma once

#include <string>

#include "base/error.h"
#include "config/agent_config.h"
#include "config/problem.h"
#include "model/settings.h"

namespace pgvigil::config {

// Settings from the dynamic configuration alone. A single unusable value counts as its default; bounds and the rule
// loop_wait + 2*retry_timeout <= ttl are applied. Error InvalidConfig: not a JSON object (the last good one stays).
Result<ClusterSettings> parse_cluster_settings(const std::string& json);

// The same as this node sees it: its local `postgresql` section replaces what it may (use_pg_rewind, remove_data_...).
Result<ClusterSettings> parse_cluster_settings(const std::string& json, const AgentConfig& local);

// Local configuration together with the dynamic one. Never fails: text that is not a JSON object counts as an empty
// one and is named in `warnings`, as is every value that was ignored or bounded. Empty text = no dynamic configuration.
Effective make_effective(const AgentConfig& local, const std::string& dynamic_json);

struct Patched {
  std::string json;      // compact, key order kept
  bool changed = false;  // false: the key need not be written
};
// PATCH /config and edit-config --set: null deletes, objects merge, everything else replaces. Scalars compare as text,
// so "100" over 100 changes nothing. Error InvalidConfig: one of the two is not a JSON object.
Result<Patched> merge_patch(const std::string& json, const std::string& patch);

// Looks at a proposed dynamic configuration before it is written. Errors: not a JSON object, unusable values. Warnings:
// unknown keys with the nearest match, keys that belong into the local file, Patroni's floors, the ttl rule.
Problems check_dynamic(const std::string& json);

}  // namespace pgvigil::config
