// `pgvigil agent FILE`: wires the agent to the real world and runs it.
#pragma once

#include <string>

namespace pgvigil::app {

// Exit status: 0 after a stop by signal, 1 when the configuration or the node forbids to run.
int run_agent(const std::string& file_or_directory);

}  // namespace pgvigil::app
