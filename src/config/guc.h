// PostgreSQL parameters that are under the agent's control: the same on all members, because a standby refuses to start
// or to replay with smaller values than its primary (PostgreSQL documentation, "Hot Standby", "Administrator's
// Overview"). They come from the dynamic configuration only and go onto the postmaster's command line, where neither
// postgresql.conf nor ALTER SYSTEM can override them.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/agent_config.h"

namespace pgvigil::config {

bool is_controlled(std::string_view name);  // case does not count

// Name and value of each controlled parameter in PostgresConfig::parameters, in the fixed order in which they are put
// on the command line (as --name=value). wal_keep_size is controlled too but belongs into the file.
std::vector<std::pair<std::string, std::string>> command_line_parameters(const PostgresConfig& config);

// Takes out of `parameters` what a server of this major version (13 to 18) does not know any more or not yet, where we
// know it; renames what was renamed. Unknown names pass. Returns a warning line for each change.
std::vector<std::string> fit_parameters(std::map<std::string, std::string>& parameters, int major_version);

}  // namespace pgvigil::config
