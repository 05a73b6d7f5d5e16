// `pgvigil up` and `pgvigil down`: the reference deployment on this machine.
#pragma once

#include <string>
#include <vector>

namespace pgvigil::app {

int run_up(const std::vector<std::string>& arguments);
int run_down(const std::vector<std::string>& arguments);

}  // namespace pgvigil::app
