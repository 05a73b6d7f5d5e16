// The parameters that a PostgreSQL server of some version has, and values against them. A name that the server does not
// know keeps it from starting, so it is worth finding before.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/value.h"

namespace pgvigil::config {

struct ServerParameter {
  enum class Type : std::uint8_t { Text, Boolean, Integer, Real } type = Type::Text;
  std::string name, smallest, largest;  // bounds of numbers, in the parameter's own unit
};

// What `postgres --describe-config` prints. Lines that are not understood are left out.
std::vector<ServerParameter> parse_described(std::string_view output);

// `parameters`: a map of names and values, at `path`. Names with a dot belong to extensions and are not looked at.
void check_server_parameters(const Value& parameters, const std::string& path,
                             const std::vector<ServerParameter>& known, Problems& problems);

}  // namespace pgvigil::config
