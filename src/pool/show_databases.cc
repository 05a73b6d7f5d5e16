// SHOW DATABASES and USERS.
#include <fmt/format.h>

#include <map>

#include "pool/show.h"

namespace pgvigil::pool {
namespace {

using pgwire::kInt4;
using pgwire::kText;

std::int64_t seconds(poolcfg::Micros time) { return std::chrono::duration_cast<std::chrono::seconds>(time).count(); }

Cell text_or_null(const std::string& text) { return text.empty() ? Cell() : Cell(text); }

std::vector<Cell> database_row(const DatabaseFact& fact, const poolcfg::Settings& all) {
  const poolcfg::DatabaseEntry& entry = *fact.entry;
  return {cell(fact.name),
          text_or_null(entry.host_text),
          cell(entry.port),
          cell(entry.dbname),
          text_or_null(entry.user),
          cell(entry.pool_size.value_or(all.default_pool_size)),
          cell(entry.min_pool_size.value_or(all.min_pool_size)),
          cell(entry.reserve_pool_size.value_or(all.reserve_pool_size)),
          cell(seconds(entry.server_lifetime.value_or(all.server_lifetime))),
          entry.pool_mode ? cell(to_string(*entry.pool_mode)) : std::nullopt,
          entry.hosts.size() > 1 ? cell(to_string(entry.load_balance_hosts)) : std::nullopt,
          cell(entry.max_db_connections.value_or(all.max_db_connections)),
          cell(fact.servers),
          cell(entry.max_db_client_connections.value_or(all.max_db_client_connections)),
          cell(fact.clients),
          cell(fact.paused),
          cell(fact.disabled)};
}

std::vector<Cell> console_row(const Snapshot& snapshot) {
  const poolcfg::Settings& all = snapshot.settings();
  return {cell(kConsoleName),
          std::nullopt,
          cell(all.listen_port),
          cell(kConsoleName),
          cell(kConsoleName),
          cell(2),
          cell(0),
          cell(0),
          cell(seconds(all.server_lifetime)),
          cell(to_string(poolcfg::PoolMode::Statement)),
          std::nullopt,
          cell(0),
          cell(0),
          cell(0),
          cell(snapshot.console_sessions),
          cell(0),
          cell(0)};
}

Rows databases(const Snapshot& snapshot) {
  Rows rows;
  bool console_shown = false;
  for (const DatabaseFact& fact : snapshot.databases) {
    // An automatic database that nobody uses is on its way out.
    if (fact.automatic && fact.clients == 0 && fact.servers == 0 && !fact.paused && !fact.disabled) continue;
    if (!console_shown && fact.name > kConsoleName) {
      rows.push_back(console_row(snapshot));
      console_shown = true;
    }
    rows.push_back(database_row(fact, snapshot.settings()));
  }
  if (!console_shown) rows.push_back(console_row(snapshot));
  return rows;
}

// Sizes are texts, aligned to the right; so they are in PgBouncer.
Cell size_text(const std::optional<int>& size) { return size ? fmt::format("{:>9}", *size) : std::string(); }

Rows users(const Snapshot& snapshot) {
  std::map<std::string_view, UserFact> all;
  for (const auto& [name, password] : snapshot.config->auth.passwords) all[name].name = name;
  for (const auto& [name, entry] : snapshot.config->file.users) all[name].name = name;
  for (const UserFact& fact : snapshot.users) all[fact.name] = fact;
  const poolcfg::Settings& settings = snapshot.settings();
  static const poolcfg::UserEntry kNone;
  Rows rows;
  for (const auto& [name, fact] : all) {
    const auto found = snapshot.config->file.users.find(name);
    const poolcfg::UserEntry& entry = found == snapshot.config->file.users.end() ? kNone : found->second;
    rows.push_back({cell(name), size_text(entry.pool_size), size_text(entry.reserve_pool_size),
                    entry.pool_mode ? cell(to_string(*entry.pool_mode)) : std::nullopt,
                    cell(entry.max_user_connections.value_or(settings.max_user_connections)), cell(fact.servers),
                    cell(entry.max_user_client_connections.value_or(settings.max_user_client_connections)),
                    cell(fact.clients)});
  }
  return rows;
}

}  // namespace

const std::vector<ShowTable>& database_tables() {
  static const std::vector<ShowTable> tables = {
      {"databases",
       kNoFacts,
       {{"name", kText},
        {"host", kText},
        {"port", kInt4},
        {"database", kText},
        {"force_user", kText},
        {"pool_size", kInt4},
        {"min_pool_size", kInt4},
        {"reserve_pool_size", kInt4},
        {"server_lifetime", kInt4},
        {"pool_mode", kText},
        {"load_balance_hosts", kText},
        {"max_connections", kInt4},
        {"current_connections", kInt4},
        {"max_client_connections", kInt4},
        {"current_client_connections", kInt4},
        {"paused", kInt4},
        {"disabled", kInt4}},
       databases},
      {"users",
       kNoFacts,
       {{"name", kText},
        {"pool_size", kText},
        {"reserve_pool_size", kText},
        {"pool_mode", kText},
        {"max_user_connections", kInt4},
        {"current_connections", kInt4},
        {"max_user_client_connections", kInt4},
        {"current_client_connections", kInt4}},
       users},
  };
  return tables;
}

}  // namespace pgvigil::pool
