// Which settings the server gets, as pure functions: parameters by role, recovery settings, the command line.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/agent_config.h"
#include "model/instance.h"
#include "postgres/port.h"

namespace pgvigil::postgres {

struct ServerInputs {
  const config::PostgresConfig& config;
  MemberName self;
  std::string scope;       // becomes cluster_name
  int server_version = 0;  // 150020 or 150000: only the major part counts
  RunAs run;
  // Control data of the instance when it is about to be started as a standby: limits may not be below the primary's.
  std::optional<ControlData> control;
};

struct ServerSettings {
  std::map<std::string, std::string> parameters;  // for postgresql.conf; contains the controlled ones too
  std::map<std::string, std::string> recovery;    // for postgresql.conf; empty for a primary
  // "--name=value" arguments for the postmaster: what must hold whatever ALTER SYSTEM says.
  std::vector<std::string> command_line;
  // Parameters raised to the primary's value (old = raised value, new = configured value): pending restart.
  std::map<std::string, PendingChange> raised;
};

// `passfile`: path of the file with the upstream's password, as the server sees it.
ServerSettings server_settings(const ServerInputs& inputs, const std::string& passfile);

// The pgpass path that the configuration names, "~" expanded; default ~/pgpass.
std::string pgpass_path(const config::PostgresConfig& config);

// Is it one of the settings that live in the recovery part and never among the parameters?
bool is_recovery_setting(std::string_view name);

}  // namespace pgvigil::postgres
