// The simulator has to be able to fail: each mutation breaks one rule of the real code, and schedules have to notice.
#pragma once

#include <string>
#include <vector>

#include "rules.h"

namespace pgvigil::sim {

struct Mutation {
  std::string name;
  std::string what;  // the rule that it breaks
  Rules rules;
};

const std::vector<Mutation>& mutations();

}  // namespace pgvigil::sim
