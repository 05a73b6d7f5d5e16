#include "postgres/server_settings.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <tuple>

#include "postgres/conninfo.h"

namespace pgvigil::postgres {
namespace {

// These stand on the postmaster's command line, where ALTER SYSTEM cannot change them: all members have to agree.
constexpr std::array<std::string_view, 13> kOnCommandLine{"listen_addresses",
                                                          "port",
                                                          "cluster_name",
                                                          "wal_level",
                                                          "hot_standby",
                                                          "max_connections",
                                                          "max_wal_senders",
                                                          "max_prepared_transactions",
                                                          "max_locks_per_transaction",
                                                          "max_replication_slots",
                                                          "max_worker_processes",
                                                          "track_commit_timestamp",
                                                          "wal_log_hints"};

constexpr std::array<std::string_view, 16> kRecovery{
    "archive_cleanup_command",  "restore_command",        "recovery_end_command",      "recovery_target",
    "recovery_target_name",     "recovery_target_time",   "recovery_target_xid",       "recovery_target_lsn",
    "recovery_target_timeline", "recovery_target_action", "recovery_target_inclusive", "recovery_min_apply_delay",
    "primary_conninfo",         "primary_slot_name",      "promote_trigger_file",      "trigger_file"};

void merge(std::map<std::string, std::string>& into, const std::map<std::string, std::string>& from) {
  for (const auto& [name, value] : from) {
    if (std::find(kOnCommandLine.begin(), kOnCommandLine.end(), name) == kOnCommandLine.end()) into[name] = value;
  }
}

// A standby with lower limits than its primary had does not start ("Hot Standby", administrator's overview).
void raise_limits(const ControlData& control, ServerSettings& settings) {
  const std::array<std::pair<const char*, std::uint32_t>, 5> limits{
      std::pair{"max_connections", control.max_connections},
      std::pair{"max_prepared_transactions", control.max_prepared_transactions},
      std::pair{"max_locks_per_transaction", control.max_locks_per_transaction},
      std::pair{"max_worker_processes", control.max_worker_processes},
      std::pair{"max_wal_senders", control.max_wal_senders}};
  for (const auto& [name, needed] : limits) {
    auto& value = settings.parameters[name];
    std::uint32_t configured = 0;
    std::from_chars(value.data(), value.data() + value.size(), configured);
    if (value.empty() || configured >= needed) continue;
    settings.raised[name] = PendingChange{std::to_string(needed), value};
    value = std::to_string(needed);
  }
}

void recovery_settings(const ServerInputs& inputs, const std::string& passfile, ServerSettings& settings) {
  auto& recovery = settings.recovery;
  for (const auto& [name, value] : inputs.config.recovery_conf) {
    if (!name.starts_with("recovery_target") && name != "primary_conninfo" && name != "primary_slot_name" &&
        name != "standby_mode") {
      recovery[name] = value;
    }
  }
  recovery["recovery_target_timeline"] = "latest";
  for (const char* name : {"recovery_target", "recovery_target_name", "recovery_target_time", "recovery_target_xid",
                           "recovery_target_lsn"}) {
    recovery[name] = "";
  }
  const auto& run = inputs.run;
  if (!run.restore_command.empty()) recovery["restore_command"] = run.restore_command;
  if (!run.archive_cleanup_command.empty()) recovery["archive_cleanup_command"] = run.archive_cleanup_command;
  if (!run.recovery_min_apply_delay.empty()) recovery["recovery_min_apply_delay"] = run.recovery_min_apply_delay;
  if (!run.upstream) return;
  if (!run.upstream->slot.empty()) recovery["primary_slot_name"] = run.upstream->slot;
  recovery["primary_conninfo"] =
      to_dsn(primary_conninfo(inputs.config, inputs.self, *run.upstream, inputs.server_version, passfile));
}

}  // namespace

bool is_recovery_setting(std::string_view name) {
  return std::find(kRecovery.begin(), kRecovery.end(), name) != kRecovery.end();
}

std::string pgpass_path(const config::PostgresConfig& config) {
  std::string path = config.pgpass.empty() ? "~/pgpass" : config.pgpass;
  if (path.starts_with("~/")) {
    const char* home = std::getenv("HOME");
    path = (home != nullptr ? std::string(home) : std::string("/tmp")) + path.substr(1);
  }
  return path;
}

ServerSettings server_settings(const ServerInputs& inputs, const std::string& passfile) {
  ServerSettings settings;
  auto& parameters = settings.parameters;
  parameters = inputs.config.parameters;
  for (auto it = parameters.begin(); it != parameters.end();) {
    it = is_recovery_setting(it->first) && inputs.run.standby ? parameters.erase(it) : std::next(it);
  }
  merge(parameters, inputs.run.standby ? inputs.config.parameters_replica : inputs.config.parameters_primary);
  std::string addresses;
  for (const auto& address : inputs.config.listen_addresses) addresses += (addresses.empty() ? "" : ",") + address;
  parameters["listen_addresses"] = addresses;
  parameters["port"] = std::to_string(inputs.config.port);
  parameters["cluster_name"] = inputs.scope;
  if (inputs.run.synchronous_standby_names) {
    parameters["synchronous_standby_names"] = *inputs.run.synchronous_standby_names;
  }
  if (inputs.run.standby) {
    if (inputs.control) raise_limits(*inputs.control, settings);
    recovery_settings(inputs, passfile, settings);
  }
  for (const auto name : kOnCommandLine) {
    const auto found = parameters.find(std::string(name));
    if (found != parameters.end()) settings.command_line.push_back(fmt::format("--{}={}", name, found->second));
  }
  return settings;
}

}  // namespace pgvigil::postgres
