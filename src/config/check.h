// `check-config FILE` and `--validate-config`: everything that is wrong with a configuration, without starting
// anything.
#pragma once

#include <string>

#include "config/load.h"
#include "config/problem.h"

namespace pgvigil::config {

// Errors first refuse the start, warnings do not. Sorted by file and line. Beyond what loading reports, it looks at the
// files that the configuration names (certificates, keys) as this process sees them now.
//
// The settings under bootstrap.dcs are checked too, although they matter only until the cluster exists; later edits of
// them have no effect (the dynamic configuration in etcd counts), which no file can show.
Problems check_config(const std::string& file_or_directory, const Environment& environment);

}  // namespace pgvigil::config
