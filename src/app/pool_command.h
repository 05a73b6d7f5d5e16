// `pgvigil pool FILE`, also as `pgbouncer FILE`: the command line of PgBouncer.
#pragma once

#include <string>
#include <vector>

namespace pgvigil::app {

int run_pool_command(const std::string& program, const std::vector<std::string>& arguments);

}  // namespace pgvigil::app
