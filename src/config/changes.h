// What differs between two dynamic configurations, for people.
#pragma once

#include <string>
#include <vector>

namespace pgvigil::config {

// One line each: "ttl: 30 -> 20", "postgresql.parameters.work_mem: (none) -> 8MB". Passwords are not shown. Text that
// is no JSON object counts as an empty one.
std::vector<std::string> changes_between(const std::string& before_json, const std::string& after_json);

}  // namespace pgvigil::config
