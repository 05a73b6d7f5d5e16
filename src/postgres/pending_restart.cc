#include "postgres/pending_restart.h"

#include <array>
#include <charconv>

#include "postgres/conninfo.h"
#include "postgres/server_settings.h"

namespace pgvigil::postgres {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t factor;
};
// Largest first; factors in bytes and in milliseconds.
constexpr std::array<Unit, 5> kBytes{
    Unit{"TB", 1LL << 40}, {"GB", 1LL << 30}, {"MB", 1LL << 20}, {"kB", 1LL << 10}, {"B", 1}};
constexpr std::array<Unit, 5> kTime{Unit{"d", 86'400'000}, {"h", 3'600'000}, {"min", 60'000}, {"s", 1000}, {"ms", 1}};

template <std::size_t N>
std::int64_t factor_of(const std::array<Unit, N>& units, std::string_view unit) {
  std::int64_t count = 1;
  std::size_t digits = 0;
  while (digits < unit.size() && unit[digits] >= '0' && unit[digits] <= '9') ++digits;
  if (digits > 0) std::from_chars(unit.data(), unit.data() + digits, count);
  for (const auto& known : units) {
    if (known.name == unit.substr(digits)) return count * known.factor;
  }
  return 0;
}

template <std::size_t N>
std::string largest(const std::array<Unit, N>& units, std::int64_t amount) {
  for (const auto& unit : units) {
    if (amount != 0 && amount % unit.factor == 0) return fmt::format("{}{}", amount / unit.factor, unit.name);
  }
  return fmt::format("{}", amount);
}

}  // namespace

std::string readable_value(std::string_view value, std::string_view vartype, std::string_view unit) {
  if (vartype == "bool") {
    const bool on = value == "on" || value == "true" || value == "yes" || value == "1" || value == "True";
    return on ? "on" : "off";
  }
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  const bool plain = error == std::errc() && end == value.data() + value.size() && !value.empty();
  if (!plain || number <= 0 || unit.empty()) return std::string(value);
  if (const auto bytes = factor_of(kBytes, unit); bytes > 0) return largest(kBytes, number * bytes);
  if (const auto time = factor_of(kTime, unit); time > 0) return largest(kTime, number * time);
  return std::string(value);
}

std::string pending_restart_sql() {
  return "SELECT s.name, s.setting, s.vartype, coalesce(s.unit, '') AS unit,"
         " (SELECT f.setting FROM pg_file_settings f WHERE f.name = s.name ORDER BY f.seqno DESC LIMIT 1) AS "
         "file_value,"
         " s.boot_val FROM pg_settings s WHERE s.pending_restart";
}

std::map<std::string, PendingChange> pending_restart_of(const QueryResult& rows) {
  std::map<std::string, PendingChange> pending;
  for (std::size_t i = 0; i < rows.rows.size(); ++i) {
    const std::string name = rows.text(i, "name");
    if (is_recovery_setting(name) || name == "hot_standby") continue;
    const std::string vartype = rows.text(i, "vartype");
    const std::string unit = rows.text(i, "unit");
    const std::string wanted = rows.is_null(i, "file_value") ? rows.text(i, "boot_val") : rows.text(i, "file_value");
    pending[name] = {readable_value(rows.text(i, "setting"), vartype, unit), readable_value(wanted, vartype, unit)};
  }
  return pending;
}

Task<Result<RunningRecovery>> read_recovery_settings(LocalSession& session, TimePoint deadline) {
  std::string sql =
      "SELECT name, setting FROM pg_settings WHERE name IN ('archive_cleanup_command', 'restore_command',"
      " 'recovery_end_command', 'recovery_target', 'recovery_target_name', 'recovery_target_time', "
      "'recovery_target_xid',"
      " 'recovery_target_lsn', 'recovery_target_timeline', 'recovery_target_action', 'recovery_target_inclusive',"
      " 'recovery_min_apply_delay', 'primary_conninfo', 'primary_slot_name');"
      "SELECT conninfo, slot_name FROM pg_stat_get_wal_receiver() WHERE pid IS NOT NULL";
  auto answers = co_await session.batch(std::move(sql), deadline);
  if (!answers) co_return tl::make_unexpected(std::move(answers.error().error));
  RunningRecovery running;
  if (!answers->empty()) {
    const auto& rows = answers->front();
    for (std::size_t i = 0; i < rows.rows.size(); ++i) running.settings[rows.text(i, "name")] = rows.text(i, "setting");
  }
  if (answers->size() > 1) {
    running.receiver_conninfo = (*answers)[1].text(0, "conninfo");
    running.receiver_slot = (*answers)[1].text(0, "slot_name");
  }
  co_return running;
}

RecoveryChange compare_recovery(const RunningRecovery& running, const std::map<std::string, std::string>& wanted,
                                int server_version) {
  RecoveryChange change = RecoveryChange::None;
  for (const auto& [name, current] : running.settings) {
    const auto found = wanted.find(name);
    std::string target = found != wanted.end() ? found->second : std::string();
    bool same = current == target;
    if (name == "primary_conninfo") {
      const std::string& effective = running.receiver_conninfo.empty() ? current : running.receiver_conninfo;
      same = effective.empty() ? target.empty() : same_primary_conninfo(effective, target, server_version);
      // A receiver that was started with other settings than the file's follows the file after a reload.
      if (same && !current.empty()) same = same_primary_conninfo(current, target, server_version);
    } else if (found == wanted.end() && (name == "recovery_target_action" || name == "recovery_target_inclusive" ||
                                         name == "recovery_min_apply_delay")) {
      continue;  // not ours unless configured; their defaults are not empty
    } else if (name == "recovery_min_apply_delay") {
      same = readable_value(current, "integer", "ms") == target || current == target;
    }
    if (same) continue;
    if (name == "restore_command" && server_version < 140000) return RecoveryChange::Restart;
    change = RecoveryChange::Reload;
  }
  return change;
}

}  // namespace pgvigil::postgres
