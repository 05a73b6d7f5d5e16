#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "config/build.h"
#include "config/guc.h"
#include "config/guc_rules.h"
#include "config/reader.h"
#include "config/scalars.h"

namespace pgvigil::config {

namespace {

using Severity = Problem::Severity;

// PostgreSQL folds names of parameters; two spellings of one would both end up in the file.
std::map<std::string, std::string> parameters_of(const Reader& reader, std::string_view path) {
  std::map<std::string, std::string> result;
  for (const auto& [name, value] : reader.map(path)) {
    const bool good = !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
      return std::isalnum(c) != 0 || c == '_' || c == '.' || c == '$';
    });
    if (!good || is_controlled(name)) continue;
    std::string folded = name;
    std::transform(folded.begin(), folded.end(), folded.begin(), [](unsigned char c) { return std::tolower(c); });
    result[folded] = value;
  }
  return result;
}

std::map<std::string, std::string> recovery_settings(const Reader& reader, Problems& problems) {
  const Value* given = reader.usable("postgresql.recovery_conf");
  if (given == nullptr) return {};
  std::map<std::string, std::string> result = text_map(*given);
  for (const Value::Entry& entry : given->entries) {
    const std::string& name = entry.key;
    if (!name.starts_with("recovery_target") && name != "primary_conninfo" && name != "primary_slot_name" &&
        name != "standby_mode") {
      continue;
    }
    problems.push_back({Severity::Warning, entry.where, "postgresql.recovery_conf." + name, "",
                        "the agent sets it itself", "it is ignored"});
    result.erase(name);
  }
  return result;
}

void warn_unknown_names(const Value* given, const std::string& path, const std::vector<std::string>& known,
                        Problems& problems) {
  if (given == nullptr) return;
  for (const Value::Entry& entry : given->entries) {
    if (std::find(known.begin(), known.end(), entry.key) != known.end()) continue;
    const auto near = nearest_match(entry.key, known);
    problems.push_back({Severity::Warning, entry.where, path + "." + entry.key, "", "unknown key",
                        near ? fmt::format("did you mean \"{}\"?", *near) : "it is ignored"});
  }
}

std::vector<Option> basebackup_options(const Reader& reader, Problems& problems) {
  const Value* value = reader.usable("postgresql.basebackup");
  return read_options(value, "postgresql.basebackup",
                      {"pgdata", "format", "wal-method", "xlog-method", "gzip", "version", "dbname", "host", "port",
                       "username", "password"},
                      problems);
}

void build_replica_methods(const Value& merged, const Reader& reader, PostgresConfig& config) {
  const char* key =
      reader.given("postgresql.create_replica_methods") || !reader.given("postgresql.create_replica_method")
          ? "postgresql.create_replica_methods"
          : "postgresql.create_replica_method";
  config.create_replica_methods = reader.list(key);
  config.methods.clear();
  for (const std::string& method : config.create_replica_methods) {
    const Value* section = merged.find(method);
    if (section != nullptr && section->is_map() && method != "basebackup")
      config.methods[method] = script_map(*section);
  }
}

}  // namespace

Value merge_postgresql(const Value& dynamic_section, const Value& local_section) {
  Value merged = Value::map();
  for (const Value* side : {&dynamic_section, &local_section}) {
    for (const Value::Entry& entry : side->entries) {
      if (entry.value.is_null()) continue;
      Value* found = merged.find(entry.key);
      const bool parameters = entry.key == "parameters" || entry.key.starts_with("parameters_");
      if (found != nullptr && parameters && found->is_map() && entry.value.is_map()) {
        merge_over(*found, entry.value);
      } else {
        merged.set(entry.key, entry.value);
      }
      // Two names of one thing: the later side has the last word, whichever name it uses.
      if (entry.key == "create_replica_method") merged.remove("create_replica_methods");
      if (entry.key == "create_replica_methods") merged.remove("create_replica_method");
    }
  }
  return merged;
}

void build_shared_postgres(const Value& merged, const Value* dynamic_parameters, const std::string& scope,
                           PostgresConfig& config, Problems& problems) {
  Value root = Value::map();
  root.set("postgresql", merged);
  const Reader reader(root, true);
  config.bin_dir = reader.text("postgresql.bin_dir");
  config.bin_name = reader.map("postgresql.bin_name");
  warn_unknown_names(reader.usable("postgresql.bin_name"), "postgresql.bin_name",
                     {"pg_ctl", "initdb", "pg_controldata", "pg_basebackup", "postgres", "pg_isready", "pg_rewind"},
                     problems);
  config.database = reader.text("postgresql.database");
  config.parameters = parameters_of(reader, "postgresql.parameters");
  config.parameters_primary = parameters_of(reader, "postgresql.parameters_primary");
  config.parameters_replica = parameters_of(reader, "postgresql.parameters_replica");
  config.parameters_standby_leader = parameters_of(reader, "postgresql.parameters_standby_leader");
  config.pg_hba = reader.lines("postgresql.pg_hba");
  config.pg_ident = reader.lines("postgresql.pg_ident");
  config.recovery_conf = recovery_settings(reader, problems);
  config.custom_conf = reader.text("postgresql.custom_conf");
  config.config_base_name = reader.text("postgresql.config_base_name");
  config.use_unix_socket = reader.boolean("postgresql.use_unix_socket");
  config.use_unix_socket_repl = reader.boolean("postgresql.use_unix_socket_repl");
  config.use_slots = reader.boolean("postgresql.use_slots");
  config.use_pg_rewind = reader.boolean("postgresql.use_pg_rewind");
  config.remove_data_directory_on_rewind_failure = reader.boolean("postgresql.remove_data_directory_on_rewind_failure");
  config.remove_data_directory_on_diverged_timelines =
      reader.boolean("postgresql.remove_data_directory_on_diverged_timelines");
  build_replica_methods(merged, reader, config);
  config.basebackup = basebackup_options(reader, problems);
  config.rewind_options =
      read_options(reader.usable("postgresql.rewind"), "postgresql.rewind",
                   {"target-pgdata", "source-pgdata", "source-server", "write-recovery-conf", "dry-run",
                    "restore-target-wal", "config-file", "no-ensure-shutdown", "version", "help"},
                   problems);
  config.callbacks = reader.map("postgresql.callbacks");
  warn_unknown_names(reader.usable("postgresql.callbacks"), "postgresql.callbacks",
                     {"on_start", "on_stop", "on_restart", "on_reload", "on_role_change"}, problems);
  config.pre_promote = reader.text("postgresql.pre_promote");
  config.before_stop = reader.text("postgresql.before_stop");
  config.krbsrvname = reader.text("postgresql.krbsrvname");
  config.pg_ctl_timeout = reader.seconds("postgresql.pg_ctl_timeout");
  for (auto& [name, value] : resolve_controlled(dynamic_parameters, problems)) config.parameters[name] = value;
  config.parameters["listen_addresses"] = join(config.listen_addresses, ",");
  config.parameters["port"] = std::to_string(config.port);
  config.parameters["cluster_name"] = scope;
}

}  // namespace pgvigil::config
