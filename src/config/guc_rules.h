// The controlled parameters one by one: how their effective values come about.
#pragma once

#include <map>
#include <string>

#include "config/problem.h"
#include "config/value.h"

namespace pgvigil::config {

// A parameter's text as postgresql.conf wants it: booleans become on/off, numbers and texts stay.
std::string parameter_text(const Value& value);

// Values of all controlled parameters except listen_addresses, port and cluster_name. `dynamic` is the dynamic
// postgresql.parameters, or null. A value that cannot be used counts as the default and is named in `problems`.
std::map<std::string, std::string> resolve_controlled(const Value* dynamic, Problems& problems);

}  // namespace pgvigil::config
