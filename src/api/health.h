// Which status code a health check gets. Pure: no I/O, no clock.
#pragma once

#include "api/http.h"
#include "api/observed.h"

namespace pgvigil::api {

// Whether the answer depends on PostgreSQL, so that a recent observation is worth waiting for. The checks that follow
// the leader lock are answered from memory: load balancers ask them most, and in trouble.
bool needs_observation(const Target& target, const agent::AgentStatus& status);

int health_status(const Target& target, const Observed& node);
int liveness_status(const Observed& node);
int readiness_status(const Target& target, const Observed& node);

}  // namespace pgvigil::api
