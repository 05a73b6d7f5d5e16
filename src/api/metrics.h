// GET /metrics: Prometheus text exposition format 0.0.4. First Patroni's metrics in their fixed order, then pgvigil's.
//
// Written by hand: a registry sorts its families as it likes and has no place for the "# Values" comment, and both are
// part of the interface. What is counted here lives in the agent's snapshot anyway.
#pragma once

#include <cstdint>
#include <string>

#include "api/documents.h"
#include "api/observed.h"

namespace pgvigil::api {

struct ServerCounters {  // of the REST server itself
  std::uint64_t requests = 0;
  std::uint64_t connections = 0;           // open now
  std::uint64_t rejected_connections = 0;  // closed at once, or displaced, because there were too many
  std::uint64_t timed_out = 0;             // closed because the request did not arrive in time
};

std::string metrics_text(const Observed& node, const Versions& versions, const ServerCounters& counters);

// "4.1.4" -> "040104".
std::string padded_version(const std::string& version);

}  // namespace pgvigil::api
