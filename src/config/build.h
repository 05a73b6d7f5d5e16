// From validated documents to typed configuration.
#pragma once

#include "config/agent_config.h"
#include "config/load.h"
#include "config/problem.h"
#include "config/value.h"

namespace pgvigil::config {

// The sections that tools need too: scope, namespace, etcd3, restapi, ctl.
void build_common(const Value& root, AgentConfig& config, Problems& problems);

// Everything else. Required keys that are missing are errors in `problems`.
void build_agent(const Value& root, const Environment& environment, AgentConfig& config, Problems& problems);

// Fills those parts of `config` that may come from both sides, from the merged `postgresql` section, and the controlled
// parameters from the dynamic one alone. What only the local file may say has to be in `config` already.
void build_shared_postgres(const Value& merged, const Value* dynamic_parameters, const std::string& scope,
                           PostgresConfig& config, Problems& problems);

// The local `postgresql` section over the dynamic one, key by key; parameters are merged, controlled ones left out.
Value merge_postgresql(const Value& dynamic_section, const Value& local_section);

}  // namespace pgvigil::config
