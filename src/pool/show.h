// The tables of SHOW: each has a name, columns in PgBouncer's order and types, and a function from facts to rows.
#pragma once

#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "pool/console_table.h"
#include "pool/snapshot.h"

namespace pgvigil::pool {

inline constexpr std::string_view kConsoleName = "pgbouncer";  // its database, its user and its pool

struct ShowTable {
  std::string_view name;  // lower case
  unsigned facts;         // what the workers have to be asked for
  Columns columns;
  Rows (*rows)(const Snapshot& snapshot);
};

// Null: there is none. Case does not count.
const ShowTable* find_show(std::string_view name);

// One file each defines its tables.
const std::vector<ShowTable>& pool_tables();      // pools, peer_pools, peers
const std::vector<ShowTable>& client_tables();    // clients, servers, sockets, active_sockets
const std::vector<ShowTable>& database_tables();  // databases, users
const std::vector<ShowTable>& stats_tables();     // stats, stats_totals, stats_averages, totals
const std::vector<ShowTable>& config_tables();    // config, state, version
const std::vector<ShowTable>& cluster_tables();   // cluster
const std::vector<ShowTable>& misc_tables();      // lists, mem, dns_hosts, dns_zones

// --- cells
inline Cell cell(std::string_view text) { return std::string(text); }
// Only numbers and nothing that converts to one: a literal is a text, not a bool.
template <class Number, class = std::enable_if_t<std::is_integral_v<Number>>>
Cell cell(Number value) {
  return std::to_string(value);
}
// The database, user and pool of the console have their place in the order of names.
template <class Fact, class Name>
std::size_t place_of_console(const std::vector<Fact>& facts, Name&& name) {
  std::size_t place = 0;
  while (place < facts.size() && name(facts[place]) < kConsoleName) ++place;
  return place;
}

}  // namespace pgvigil::pool
