// `pgvigil healthcheck FILE [CHECK]`: asks the node's own agent, for containers and scripts that have no curl.
#pragma once

#include <string>
#include <vector>

namespace pgvigil::app {

// CHECK is an endpoint of the REST API without the slash: health (the default), primary, replica, liveness, readiness,
// ... Exit status: 0 when it answers 200, 1 otherwise (the reason goes to standard error), 2 for wrong usage.
int run_healthcheck(const std::vector<std::string>& arguments);

}  // namespace pgvigil::app
