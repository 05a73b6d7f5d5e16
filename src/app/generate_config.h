// A configuration for a server that runs already, to take it over. Patroni: --generate-config.
#pragma once

#include <string>

#include "base/error.h"

namespace pgvigil::app {

// Asks the server behind the libpq connection string (empty: libpq's defaults and environment) as a superuser. The text
// names files for passwords and holds none.
Result<std::string> generate_config(const std::string& dsn);

}  // namespace pgvigil::app
