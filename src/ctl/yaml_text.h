// JSON as YAML for people. Pure.
#pragma once

#include <string>

namespace pgvigil::ctl {

// Block style, two blanks a level, keys sorted; empty for what is neither an object nor an array.
std::string yaml_of(const std::string& json);

}  // namespace pgvigil::ctl
