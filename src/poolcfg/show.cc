// SHOW CONFIG, SET, and what a reload changes.
#include <algorithm>

#include "poolcfg/rows.h"

namespace pgvigil::poolcfg {
namespace {

// pool_mode stands before pool_idle_timeout, as in PgBouncer; everything else is in the order of the alphabet.
std::string_view sort_key(std::string_view key) { return key == "pool_mode" ? "pool_id" : key; }

// LDAP options may hold a password, and stats_users may read SHOW CONFIG.
std::string without_password(std::string text) {
  constexpr std::string_view kName = "ldapbindpasswd=";
  for (std::size_t at = 0; (at = text.find(kName, at)) != std::string::npos;) {
    at += kName.size();
    const bool quoted = at < text.size() && text[at] == '"';
    const std::size_t end = std::min(quoted ? text.find('"', at + 1) : text.find_first_of(" \t", at), text.size());
    text.replace(at, end - at, quoted ? "\"***" : "***");
  }
  return text;
}

}  // namespace

std::vector<SettingRow> show_config(const Settings& settings) {
  Settings copy = settings;  // the table's accessors are for writing too
  std::vector<SettingRow> shown_rows;
  for (const Row& row : rows()) {
    if (row.field == nullptr) continue;
    SettingRow one;
    one.key = row.key;
    one.value = value_text(row, copy);
    if (row.key == "auth_ldap_options") one.value = without_password(one.value);
    if (row.fallback) one.fallback = std::string(*row.fallback);
    one.changeable = row.reload == Reload::Live;
    shown_rows.push_back(std::move(one));
  }
  std::sort(shown_rows.begin(), shown_rows.end(),
            [](const SettingRow& a, const SettingRow& b) { return sort_key(a.key) < sort_key(b.key); });
  return shown_rows;
}

Result<void> set_setting(Settings& settings, std::string_view key, std::string_view value) {
  const Where where{"SET", 0};
  const Row* row = find_row(key);
  if (row == nullptr) return refused(where, key, value, {"is not a known setting", did_you_mean(key, row_keys())});
  Settings changed = settings;
  const auto taken = assign(*row, changed, value);
  if (!taken) return refused(where, key, value, taken.error());
  if (row->check != nullptr) {
    if (const auto problem = row->check(value)) return refused(where, key, value, *problem);
  }
  if (row->reload == Reload::Live) settings = std::move(changed);
  return {};
}

Settings reloaded(const Settings& running, const PoolConfig& fresh) {
  Settings before = running, after = fresh.settings;
  for (const Row& row : rows()) {
    const bool unwritten = !row.fallback && !fresh.written.contains(row.key);
    if (row.reload == Reload::Start || unwritten) copy_value(row, before, after);
  }
  return after;
}

}  // namespace pgvigil::poolcfg
