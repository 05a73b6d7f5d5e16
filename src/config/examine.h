// One pass over a configuration with all its findings; loading and checking differ only in what they do with them.
#pragma once

#include "config/agent_config.h"
#include "config/load.h"
#include "config/problem.h"
#include "config/value.h"

namespace pgvigil::config {

enum class Purpose : std::uint8_t { Agent, Tool };

struct Examined {
  AgentConfig config;  // complete only if `problems` has no errors
  Value root;
  Problems problems;  // sorted by file and line
};

// Error: nothing could be read at all.
Result<Examined> examine(const std::string& file_or_directory, const Environment& environment, Purpose purpose);

}  // namespace pgvigil::config
