// The sections of the file as rows: what begins one, what an entry in it does. Errors stop the load; the caller throws
// the half-read configuration away.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "poolcfg/connection_string.h"
#include "poolcfg/ini.h"
#include "poolcfg/settings.h"

namespace pgvigil::poolcfg {

struct Loading {
  PoolConfig config;
  bool settings_seen = false;                                                     // [pgbouncer] has begun at least once
  std::map<std::string, Where, std::less<>> settings_at, databases_at, users_at;  // where what counts was written
  std::map<int, Where> peers_at;
  std::map<std::string, Where, std::less<>> cluster_at;  // "": the section's header

  void warn(const Where& where, const std::string& text) { config.warnings.push_back(where.text() + ": " + text); }
};

struct Section {
  std::string_view name;
  Result<void> (*begin)(Loading&, const Where&);  // may be null
  Result<void> (*entry)(Loading&, const IniEntry&);
};
std::span<const Section> sections();

// What can be judged only when all is read: settings that need each other.
Result<void> check_together(Loading& loading);

Result<void> take_setting(Loading& loading, const IniEntry& entry);
Result<void> begin_settings(Loading& loading, const Where& where);
Result<void> take_database(Loading& loading, const IniEntry& entry);
Result<void> take_user(Loading& loading, const IniEntry& entry);
Result<void> take_peer(Loading& loading, const IniEntry& entry);
Result<void> begin_cluster(Loading& loading, const Where& where);
Result<void> take_cluster(Loading& loading, const IniEntry& entry);
// What the section and the roles of databases need of each other.
Result<void> check_cluster(const Loading& loading);

std::span<const PairRow<DatabaseEntry>> database_rows();
std::span<const PairRow<UserEntry>> user_rows();
std::span<const PairRow<PeerEntry>> peer_rows();
std::span<const PairRow<ClusterSection>> cluster_rows();

// Reads the pairs of a value into an entry, by its section's rows.
template <class Entry>
Result<void> take_pairs(Loading& loading, const IniEntry& from, std::span<const PairRow<Entry>> rows, Entry& entry) {
  const auto pairs = parse_pairs(from.value);
  if (!pairs) return refused_key(from.where, from.key, pairs.error());
  for (const Pair& pair : *pairs) {
    const PairRow<Entry>* row = nullptr;
    std::vector<std::string_view> keys;
    for (const PairRow<Entry>& one : rows) {
      keys.push_back(one.key);
      if (one.key == pair.key) row = &one;
    }
    const std::string place = std::string(from.key) + ": " + pair.key;
    if (row == nullptr) return refused_key(from.where, place, {"is not a known key", did_you_mean(pair.key, keys)});
    const auto taken = row->take(entry, pair.value);
    if (!taken) {
      return row->secret ? refused_key(from.where, place, taken.error())
                         : refused(from.where, place, pair.value, taken.error());
    }
    if (!taken->empty()) loading.warn(from.where, place + " " + *taken);
  }
  return {};
}

}  // namespace pgvigil::poolcfg
