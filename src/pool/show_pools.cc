// SHOW POOLS, PEER_POOLS and PEERS.
#include <algorithm>

#include "pool/show.h"

namespace pgvigil::pool {
namespace {

using pgwire::kInt4;
using pgwire::kText;

std::vector<Cell> pool_row(const PoolFact& pool) {
  const auto us = static_cast<std::int64_t>(micros(pool.longest_wait));
  // Clients at login wait without being among the active ones; a client that waits is not one of them either.
  return {cell(pool.database),
          cell(pool.user),
          cell(pool.clients - std::min(pool.clients, pool.waiting)),
          cell(pool.waiting),
          cell(pool.cancels_active),
          cell(pool.cancels_waiting),
          cell(pool.active),
          cell(pool.cancels_active),
          cell(pool.being_canceled),
          cell(pool.idle),
          cell(pool.used),
          cell(pool.tested),
          cell(pool.login),
          cell(us / 1000000),
          cell(us % 1000000),
          cell(to_string(pool.mode)),
          pool.load_balance ? cell(to_string(*pool.load_balance)) : std::nullopt};
}

Rows pools(const Snapshot& snapshot) {
  Rows rows;
  rows.reserve(snapshot.pools.size() + 1);
  for (const PoolFact& pool : snapshot.pools) rows.push_back(pool_row(pool));
  PoolFact console;
  console.database = console.user = kConsoleName;
  console.clients = snapshot.console_sessions;
  console.mode = poolcfg::PoolMode::Statement;
  const auto place = place_of_console(snapshot.pools, [](const PoolFact& pool) { return pool.database; });
  rows.insert(rows.begin() + static_cast<std::ptrdiff_t>(place), pool_row(console));
  return rows;
}

// One process needs no connections to peers: a cancel request reaches every worker.
Rows peer_pools(const Snapshot& snapshot) {
  Rows rows;
  for (const auto& [id, peer] : snapshot.config->file.peers) {
    rows.push_back({cell(id), cell(0), cell(0), cell(0), cell(0)});
  }
  return rows;
}

Rows peers(const Snapshot& snapshot) {
  Rows rows;
  for (const auto& [id, peer] : snapshot.config->file.peers) {
    rows.push_back({cell(id), cell(peer.host), cell(peer.port),
                    cell(peer.pool_size.value_or(snapshot.settings().default_pool_size))});
  }
  return rows;
}

}  // namespace

const std::vector<ShowTable>& pool_tables() {
  static const std::vector<ShowTable> tables = {
      {"pools",
       kPoolFacts,
       {{"database", kText},
        {"user", kText},
        {"cl_active", kInt4},
        {"cl_waiting", kInt4},
        {"cl_active_cancel_req", kInt4},
        {"cl_waiting_cancel_req", kInt4},
        {"sv_active", kInt4},
        {"sv_active_cancel", kInt4},
        {"sv_being_canceled", kInt4},
        {"sv_idle", kInt4},
        {"sv_used", kInt4},
        {"sv_tested", kInt4},
        {"sv_login", kInt4},
        {"maxwait", kInt4},
        {"maxwait_us", kInt4},
        {"pool_mode", kText},
        {"load_balance_hosts", kText}},
       pools},
      {"peer_pools",
       kNoFacts,
       {{"peer_id", kInt4},
        {"cl_active_cancel_req", kInt4},
        {"cl_waiting_cancel_req", kInt4},
        {"sv_active_cancel", kInt4},
        {"sv_login", kInt4}},
       peer_pools},
      {"peers", kNoFacts, {{"peer_id", kInt4}, {"host", kText}, {"port", kInt4}, {"pool_size", kInt4}}, peers},
  };
  return tables;
}

}  // namespace pgvigil::pool
