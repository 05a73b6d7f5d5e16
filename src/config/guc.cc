#include "config/guc.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <limits>

#include "config/guc_rules.h"
#include "config/scalars.h"

namespace pgvigil::config {

namespace {

enum class Rule : std::uint8_t { Fixed, WalLevel, AlwaysOn, Number, Boolean, WalKeepSize };

struct Controlled {
  std::string_view name;
  Rule rule;
  std::string_view fallback;
  std::int64_t min = 0;
};

// In command line order. Bounds are Patroni's, so that mixed clusters agree.
constexpr Controlled kControlled[] = {
    {"listen_addresses", Rule::Fixed, "", 0},
    {"port", Rule::Fixed, "", 0},
    {"cluster_name", Rule::Fixed, "", 0},
    {"wal_level", Rule::WalLevel, "replica", 0},
    {"hot_standby", Rule::AlwaysOn, "on", 0},
    {"max_connections", Rule::Number, "100", 25},
    {"max_wal_senders", Rule::Number, "10", 3},
    {"max_prepared_transactions", Rule::Number, "0", 0},
    {"max_locks_per_transaction", Rule::Number, "64", 32},
    {"track_commit_timestamp", Rule::Boolean, "off", 0},
    {"max_replication_slots", Rule::Number, "10", 4},
    {"max_worker_processes", Rule::Number, "8", 2},
    {"wal_log_hints", Rule::Boolean, "on", 0},
};
constexpr std::int64_t kSmallestWalKeep = 16;  // MB: one segment
constexpr std::string_view kWalKeepDefault = "128MB";

struct Change {
  std::string_view name;
  int introduced;  // first major version that knows it; 0: older than 13
  int removed;     // first major version that does not know it any more; 0: still there
  std::string_view replacement;
};

// PostgreSQL release notes 13 to 18, "Migration to Version".
constexpr Change kChanges[] = {
    {"operator_precedence_warning", 0, 14, ""},
    {"vacuum_cleanup_index_scale_factor", 0, 14, ""},
    {"stats_temp_directory", 0, 15, ""},
    {"promote_trigger_file", 0, 16, ""},
    {"vacuum_defer_cleanup_age", 0, 16, ""},
    {"force_parallel_mode", 0, 16, "debug_parallel_query"},
    {"db_user_namespace", 0, 17, ""},
    {"old_snapshot_threshold", 0, 17, ""},
    {"trace_recovery_messages", 0, 17, ""},
    {"wal_keep_segments", 0, 13, ""},  // turned into wal_keep_size before
    {"client_connection_check_interval", 14, 0, ""},
    {"compute_query_id", 14, 0, ""},
    {"idle_session_timeout", 14, 0, ""},
    {"recovery_init_sync_method", 14, 0, ""},
    {"vacuum_failsafe_age", 14, 0, ""},
    {"recovery_prefetch", 15, 0, ""},
    {"stats_fetch_consistency", 15, 0, ""},
    {"log_startup_progress_interval", 15, 0, ""},
    {"reserved_connections", 16, 0, ""},
    {"debug_parallel_query", 16, 0, "force_parallel_mode"},
    {"vacuum_buffer_usage_limit", 16, 0, ""},
    {"summarize_wal", 17, 0, ""},
    {"sync_replication_slots", 17, 0, ""},
    {"synchronized_standby_slots", 17, 0, ""},
    {"transaction_timeout", 17, 0, ""},
    {"io_combine_limit", 17, 0, ""},
    {"io_method", 18, 0, ""},
    {"io_workers", 18, 0, ""},
    {"idle_replication_slot_timeout", 18, 0, ""},
    {"max_active_replication_origins", 18, 0, ""},
    {"autovacuum_worker_slots", 18, 0, ""},
};

std::string lowered(std::string_view name) {
  std::string result(name);
  std::transform(result.begin(), result.end(), result.begin(), [](unsigned char c) { return std::tolower(c); });
  return result;
}

const Value* find_ignoring_case(const Value* map, std::string_view name) {
  if (map == nullptr) return nullptr;
  const Value* found = nullptr;
  for (const Value::Entry& entry : map->entries) {
    if (lowered(entry.key) == name && !entry.value.is_null()) found = &entry.value;
  }
  return found;
}

void refuse(const Value& value, std::string_view name, std::string_view what, std::string_view used,
            Problems& problems) {
  problems.push_back({Problem::Severity::Warning, value.where, fmt::format("postgresql.parameters.{}", name),
                      value.text, std::string(what), fmt::format("{} is used", used)});
}

std::string resolve(const Controlled& parameter, const Value& value, Problems& problems) {
  const auto refused = [&](std::string_view what) {
    refuse(value, parameter.name, what, parameter.fallback, problems);
    return std::string(parameter.fallback);
  };
  switch (parameter.rule) {
    case Rule::Number: {
      const auto number = value.is_scalar() ? parse_number(value.text, Unit::Plain) : std::nullopt;
      if (number && *number >= parameter.min && *number <= std::numeric_limits<std::int32_t>::max()) {
        return std::to_string(*number);
      }
      return refused(fmt::format("expected a number of at least {}", parameter.min));
    }
    case Rule::Boolean:
    case Rule::AlwaysOn: {
      const auto flag = value.is_scalar() ? parse_boolean(value.text) : std::nullopt;
      if (!flag) return refused("expected on or off");
      if (parameter.rule == Rule::AlwaysOn && !*flag) return refused("replicas have to answer queries");
      return *flag ? "on" : "off";
    }
    case Rule::WalLevel: {
      const std::string level = lowered(value.text);
      if (level == "logical" || level == "replica") return level;
      if (level == "hot_standby") return "replica";  // its name before PostgreSQL 9.6
      return refused("expected replica or logical");
    }
    case Rule::Fixed:
    case Rule::WalKeepSize: break;
  }
  return std::string(parameter.fallback);
}

std::string resolve_wal_keep(const Value* dynamic, Problems& problems) {
  if (const Value* size = find_ignoring_case(dynamic, "wal_keep_size")) {
    const auto megabytes = size->is_scalar() ? parse_in_unit(size->text, "MB") : std::nullopt;
    if (megabytes && *megabytes >= kSmallestWalKeep) return fmt::format("{}MB", *megabytes);
    refuse(*size, "wal_keep_size", "expected at least 16MB", kWalKeepDefault, problems);
  } else if (const Value* segments = find_ignoring_case(dynamic, "wal_keep_segments")) {
    const auto count = segments->is_scalar() ? parse_number(segments->text, Unit::Plain) : std::nullopt;
    constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max() / kSmallestWalKeep;
    if (count && *count >= 1 && *count <= kMost) return fmt::format("{}MB", *count * kSmallestWalKeep);
    refuse(*segments, "wal_keep_segments", "expected a number of at least 1", kWalKeepDefault, problems);
  }
  return std::string(kWalKeepDefault);
}

}  // namespace

bool is_controlled(std::string_view name) {
  const std::string wanted = lowered(name);
  if (wanted == "wal_keep_size" || wanted == "wal_keep_segments") return true;
  return std::any_of(std::begin(kControlled), std::end(kControlled),
                     [&](const Controlled& parameter) { return parameter.name == wanted; });
}

std::vector<std::pair<std::string, std::string>> command_line_parameters(const PostgresConfig& config) {
  std::vector<std::pair<std::string, std::string>> result;
  for (const Controlled& parameter : kControlled) {
    const auto found = config.parameters.find(std::string(parameter.name));
    if (found != config.parameters.end()) result.emplace_back(found->first, found->second);
  }
  return result;
}

std::vector<std::string> fit_parameters(std::map<std::string, std::string>& parameters, int major_version) {
  std::vector<std::string> warnings;
  for (const Change& change : kChanges) {
    const auto found = parameters.find(std::string(change.name));
    if (found == parameters.end()) continue;
    const bool gone = change.removed != 0 && major_version >= change.removed;
    const bool unborn = change.introduced != 0 && major_version < change.introduced;
    if (!gone && !unborn) continue;
    const std::string value = found->second;
    parameters.erase(found);
    const std::string reason =
        gone ? fmt::format("PostgreSQL {} has no parameter {} any more", major_version, change.name)
             : fmt::format("PostgreSQL {} has no parameter {} yet", major_version, change.name);
    if (change.replacement.empty()) {
      warnings.push_back(reason + ": it is left out");
    } else {
      parameters.emplace(change.replacement, value);
      warnings.push_back(fmt::format("{}: it is written as {}", reason, change.replacement));
    }
  }
  return warnings;
}

std::string parameter_text(const Value& value) {
  if (scalar_type(value) == ScalarType::Boolean) return parse_boolean(value.text).value_or(false) ? "on" : "off";
  return value.text;
}

std::map<std::string, std::string> resolve_controlled(const Value* dynamic, Problems& problems) {
  std::map<std::string, std::string> result;
  for (const Controlled& parameter : kControlled) {
    if (parameter.rule == Rule::Fixed) continue;
    const Value* value = find_ignoring_case(dynamic, parameter.name);
    result[std::string(parameter.name)] =
        value == nullptr ? std::string(parameter.fallback) : resolve(parameter, *value, problems);
  }
  result["wal_keep_size"] = resolve_wal_keep(dynamic, problems);
  return result;
}

}  // namespace pgvigil::config
