// The command line of the agent, with Patroni's options, and what can be done with its configuration alone.
#pragma once

#include <string>
#include <vector>

namespace pgvigil::app {

// [FILE or directory], --version, --validate-config, --generate-config, --generate-sample-config. `program`: how it
// was called, for the usage. Exit status: the agent's; 0, 1 for an invalid configuration or a failure, 2 for wrong
// usage.
int run_agent_command(const std::string& program, const std::vector<std::string>& arguments);

// Every problem of the file, one a line. Exit status 1 when one of them is an error.
int check_config(const std::string& file_or_directory);

}  // namespace pgvigil::app
