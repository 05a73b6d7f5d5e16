// PATRONI_* variables as part of the document. Patroni documentation, "Environment Configuration Settings".
#pragma once

#include "config/load.h"
#include "config/problem.h"
#include "config/value.h"

namespace pgvigil::config {

// Puts the variables over `root`. Empty ones do not count. Unknown PATRONI_ names are warned of.
void apply_environment(Value& root, const Environment& environment, Problems& problems);

}  // namespace pgvigil::config
