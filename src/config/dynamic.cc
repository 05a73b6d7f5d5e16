#include "config/dynamic.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <utility>

#include "config/build.h"
#include "config/reader.h"
#include "config/scalars.h"
#include "config/validate.h"
#include "config/value.h"

namespace pgvigil::config {

namespace {

using Severity = Problem::Severity;

struct Timing {
  std::int64_t ttl = 0, loop_wait = 0, retry_timeout = 0;
};

// The lease has to survive a cycle in which everything is tried until its timeout, twice. Patroni lowers in this order,
// and all members of a cluster have to arrive at the same numbers.
Timing obey_ttl_rule(Timing timing) {
  if (timing.loop_wait + 2 * timing.retry_timeout <= timing.ttl) return timing;
  timing.loop_wait = timing.ttl - 2 * timing.retry_timeout;
  if (timing.loop_wait < 1) {
    timing.loop_wait = 1;
    timing.retry_timeout = (timing.ttl - 1) / 2;
  }
  return timing;
}

Timing timing_of(const Reader& reader) {
  return {reader.number("ttl"), reader.number("loop_wait"), reader.number("retry_timeout")};
}

Duration seconds_of_either(const Reader& reader, const char* name, const char* old_name) {
  return reader.seconds(!reader.given(name) && reader.given(old_name) ? old_name : name);
}

SyncMode sync_mode(const Reader& reader) {
  std::string word = reader.text("synchronous_mode");
  std::transform(word.begin(), word.end(), word.begin(), [](unsigned char c) { return std::tolower(c); });
  if (word == "quorum") return SyncMode::Quorum;
  return parse_boolean(word).value_or(false) ? SyncMode::On : SyncMode::Off;
}

std::optional<StandbyCluster> standby_cluster(const Reader& reader) {
  StandbyCluster result;
  result.host = reader.text("standby_cluster.host");
  result.port = reader.text("standby_cluster.port");
  result.primary_slot_name = reader.text("standby_cluster.primary_slot_name");
  result.restore_command = reader.text("standby_cluster.restore_command");
  result.archive_cleanup_command = reader.text("standby_cluster.archive_cleanup_command");
  result.recovery_min_apply_delay = reader.text("standby_cluster.recovery_min_apply_delay");
  // Without a place to get WAL from there is nothing to be the copy of.
  if (result.host.empty() && result.port.empty() && result.restore_command.empty()) return std::nullopt;
  return result;
}

ClusterSettings build_settings(const Value& root) {
  const Reader reader(root, true);
  ClusterSettings settings;
  const Timing timing = obey_ttl_rule(timing_of(reader));
  settings.ttl = std::chrono::seconds(timing.ttl);
  settings.loop_wait = std::chrono::seconds(timing.loop_wait);
  settings.retry_timeout = std::chrono::seconds(timing.retry_timeout);
  settings.maximum_lag_on_failover = WalBytes(reader.number("maximum_lag_on_failover"));
  settings.maximum_lag_on_syncnode = WalBytes(reader.number("maximum_lag_on_syncnode"));
  settings.max_timelines_history = static_cast<std::uint32_t>(reader.number("max_timelines_history"));
  settings.primary_start_timeout = seconds_of_either(reader, "primary_start_timeout", "master_start_timeout");
  settings.primary_stop_timeout = seconds_of_either(reader, "primary_stop_timeout", "master_stop_timeout");
  settings.member_slots_ttl = reader.seconds("member_slots_ttl");
  settings.check_timeline = reader.boolean("check_timeline");
  settings.pause = reader.boolean("pause");
  settings.synchronous_mode = sync_mode(reader);
  settings.synchronous_mode_strict = reader.boolean("synchronous_mode_strict");
  settings.synchronous_node_count = static_cast<std::uint32_t>(reader.number("synchronous_node_count"));
  settings.failsafe_mode = reader.boolean("failsafe_mode");
  settings.lossless_failover = reader.boolean("lossless_failover");
  settings.handover_timeout = reader.seconds("handover_timeout");
  settings.switchover_drain_timeout = reader.seconds("switchover_drain_timeout");
  settings.use_slots = reader.boolean("postgresql.use_slots");
  settings.use_pg_rewind = reader.boolean("postgresql.use_pg_rewind");
  settings.remove_data_directory_on_rewind_failure =
      reader.boolean("postgresql.remove_data_directory_on_rewind_failure");
  settings.remove_data_directory_on_diverged_timelines =
      reader.boolean("postgresql.remove_data_directory_on_diverged_timelines");
  settings.standby_cluster = standby_cluster(reader);
  return settings;
}

Result<Value> parse_dynamic(const std::string& json) {
  auto root = parse_json(json);
  std::string cause;
  if (!root) {
    cause = root.error().cause;
  } else if (!root->is_map()) {
    cause = "it is not a JSON object";
  } else {
    return root;
  }
  return fail(Errc::InvalidConfig, "cannot use the dynamic configuration", "", cause,
              "the last usable one stays in force");
}

const Value& postgresql_of(const Value& root) {
  static const Value kNone = Value::map();
  const Value* section = root.find("postgresql");
  return section != nullptr && section->is_map() ? *section : kNone;
}

Value local_section(const AgentConfig& local) {
  auto section = parse_json(local.local_postgresql.empty() ? "{}" : local.local_postgresql);
  return section && section->is_map() ? std::move(*section) : Value::map();
}

Value merged_section(const Value& dynamic, const AgentConfig& local) {
  Value merged = merge_postgresql(postgresql_of(dynamic), local_section(local));
  for (const char* key :
       {"connect_address", "proxy_address", "listen", "config_dir", "data_dir", "pgpass", "authentication"}) {
    merged.remove(key);
  }
  return merged;
}

bool is_slot_name(const std::string& name) {
  return !name.empty() && name.size() <= 63 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

std::string part(const Value& map, std::string_view key) {
  const Value* value = map.find(key);
  return value != nullptr && value->is_scalar() ? value->text : std::string();
}

void add_slot(const std::string& path, const Value::Entry& entry, Effective& effective, Problems& problems) {
  const auto skip = [&](std::string what, std::string valid) {
    problems.push_back({Severity::Warning, entry.where, path + "." + entry.key, "", std::move(what), std::move(valid)});
  };
  if (!is_slot_name(entry.key)) {
    skip("not the name of a slot: it is skipped", "use at most 63 of a-z, 0-9 and _");
    return;
  }
  if (!entry.value.is_null() && !entry.value.is_map()) {
    skip("expected a section: the slot is skipped", "for example {\"type\": \"physical\"}");
    return;
  }
  Effective::PermanentSlot slot;
  slot.database = part(entry.value, "database");
  slot.plugin = part(entry.value, "plugin");
  slot.cluster_type = part(entry.value, "cluster_type");
  const std::string type = part(entry.value, "type");
  slot.logical = type == "logical" || (type.empty() && !slot.database.empty() && !slot.plugin.empty());
  if (!type.empty() && type != "logical" && type != "physical") {
    skip(fmt::format("has the unknown type \"{}\": the slot is skipped", type), "expected physical or logical");
  } else if (slot.logical && (slot.database.empty() || slot.plugin.empty())) {
    skip("a logical slot needs a database and a plugin: the slot is skipped", "for example plugin pgoutput");
  } else {
    effective.permanent_slots[entry.key] = std::move(slot);
  }
}

void build_slots(const Value& root, Effective& effective, Problems& problems) {
  for (const char* name : {"permanent_slots", "permanent_replication_slots", "slots"}) {
    const Value* slots = root.find(name);
    if (slots == nullptr || slots->is_null()) continue;
    if (!slots->is_map()) {
      problems.push_back({Severity::Error, slots->where, name, "", "expected a map of slots by name", "it is ignored"});
      continue;
    }
    for (const Value::Entry& entry : slots->entries) add_slot(name, entry, effective, problems);
  }
  const Value* ignored = root.find("ignore_slots");
  if (ignored == nullptr || ignored->is_null()) return;
  bool good = ignored->is_list();
  for (const Value& item : ignored->items) {
    if (item.is_map() && !item.entries.empty()) {
      effective.ignore_slots.push_back(text_map(item));
    } else {
      good = false;
    }
  }
  if (good) return;
  problems.push_back({Severity::Error, ignored->where, "ignore_slots", "", "expected a list of maps",
                      "for example [{\"name\": \"a\", \"type\": \"logical\"}]"});
}

void check_timing(const Value& root, Problems& problems) {
  const Reader reader(root, true);
  const Timing wanted = timing_of(reader);
  // Patroni's own lower bounds; a mixed cluster follows them on Patroni's members only.
  const std::pair<const char*, std::int64_t> floors[] = {{"ttl", 20}, {"loop_wait", 1}, {"retry_timeout", 3}};
  for (const auto& [key, floor] : floors) {
    const Value* value = reader.usable(key);
    if (value == nullptr || reader.number(key) >= floor) continue;
    problems.push_back({Severity::Warning, value->where, key, value->text,
                        fmt::format("below Patroni's lower bound: Patroni members would use {}", floor),
                        fmt::format("pgvigil members use {}", reader.number(key))});
  }
  if (wanted.loop_wait + 2 * wanted.retry_timeout <= wanted.ttl) return;
  const Timing used = obey_ttl_rule(wanted);
  problems.push_back(
      {Severity::Warning, root.where, "ttl", std::to_string(wanted.ttl),
       fmt::format("smaller than loop_wait + 2*retry_timeout ({} + 2*{})", wanted.loop_wait, wanted.retry_timeout),
       fmt::format("loop_wait {} and retry_timeout {} are used", used.loop_wait, used.retry_timeout)});
}

Problems check(const Value& root) {
  Problems problems;
  validate_dynamic(root, "", problems);
  check_timing(root, problems);
  Effective ignored;
  build_slots(root, ignored, problems);
  build_shared_postgres(postgresql_of(root), postgresql_of(root).find("parameters"), "", ignored.postgresql, problems);
  return problems;
}

}  // namespace

Result<ClusterSettings> parse_cluster_settings(const std::string& json) {
  PGV_TRY(root, parse_dynamic(json));
  return build_settings(root);
}

Result<ClusterSettings> parse_cluster_settings(const std::string& json, const AgentConfig& local) {
  PGV_TRY(root, parse_dynamic(json));
  root.set("postgresql", merged_section(root, local));
  return build_settings(root);
}

Effective make_effective(const AgentConfig& local, const std::string& dynamic_json) {
  Effective effective;
  effective.postgresql = local.postgresql;
  auto parsed = parse_dynamic(dynamic_json.empty() ? "{}" : dynamic_json);
  const Value root = parsed ? std::move(*parsed) : Value::map();
  if (!parsed) effective.warnings.push_back("dynamic configuration: " + parsed.error().cause + ": it is not used");
  for (Problem& problem : check(root)) {
    problem.where.file = "dynamic configuration";
    effective.warnings.push_back(problem.message());
  }
  const Value merged = merged_section(root, local);
  Problems reported;  // those of the local section when it was loaded, those of the dynamic one just above
  build_slots(root, effective, reported);
  build_shared_postgres(merged, postgresql_of(root).find("parameters"), local.scope, effective.postgresql, reported);
  Value together = root;
  together.set("postgresql", merged);
  effective.settings = build_settings(together);
  return effective;
}

Problems check_dynamic(const std::string& json) {
  auto root = parse_dynamic(json);
  if (root) return check(*root);
  return {{Severity::Error, {}, "", "", root.error().cause, "expected a JSON object, for example {\"ttl\": 30}"}};
}

}  // namespace pgvigil::config
