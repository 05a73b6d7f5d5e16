// Reads everything that the configuration names, at start and at a reload: all of it, or nothing.
#pragma once

#include <memory>
#include <string>

#include "pool/log.h"
#include "pool/running_config.h"

namespace pgvigil::pool {

// `running`: the configuration that a reload replaces, null at start. At start a missing auth_file is a warning
// only, as with PgBouncer: logins by auth_query work without it. A reload refuses it and keeps the old users.
Result<std::shared_ptr<RunningConfig>> load_running_config(const std::string& path, const RunningConfig* running);
// What was skipped in the files. Separately, since the log file is named by them.
void log_warnings(const RunningConfig& config, PoolLog& log);

// The TLS contexts of these settings, for a reload and for SET.
Result<void> renew_tls(RunningConfig& config);

// Where these settings send log lines; `quiet`: not to standard error (-q, -d).
PoolLog::Target log_target(const poolcfg::Settings& settings, bool quiet);

}  // namespace pgvigil::pool
