// SHOW LISTS, MEM, DNS_HOSTS and DNS_ZONES.
#include <algorithm>

#include "netio/buffer.h"
#include "pool/catalog.h"
#include "pool/requests.h"
#include "pool/show.h"

namespace pgvigil::pool {
namespace {

using pgwire::kInt4;
using pgwire::kInt8;
using pgwire::kText;

Rows lists(const Snapshot& snapshot) {
  const auto servers = snapshot.servers.size();
  const auto clients = static_cast<std::size_t>(std::max(0, snapshot.client_sockets));
  // Objects are made when they are needed: none of them is kept free.
  return {{cell("databases"), cell(snapshot.databases.size() + 1)},
          {cell("users"), cell(find_show("users")->rows(snapshot).size())},
          {cell("peers"), cell(snapshot.config->file.peers.size())},
          {cell("pools"), cell(snapshot.pools.size() + 1)},
          {cell("peer_pools"), cell(snapshot.config->file.peers.size())},
          {cell("free_clients"), cell(0)},
          {cell("used_clients"), cell(clients)},
          {cell("login_clients"), cell(snapshot.login_clients)},
          {cell("free_servers"), cell(0)},
          {cell("used_servers"), cell(servers)},
          {cell("dns_names"), cell(snapshot.hosts.size())},
          {cell("dns_zones"), cell(snapshot.zones.size())},
          {cell("dns_queries"), cell(snapshot.resolver_queries)},
          {cell("dns_pending"), cell(0)}};
}

std::vector<Cell> memory(std::string_view name, std::size_t size, std::size_t used) {
  return {cell(name), cell(size), cell(used), cell(0), cell(size * used)};
}

Rows mem(const Snapshot& snapshot) {
  const auto clients = static_cast<std::size_t>(std::max(0, snapshot.client_sockets));
  std::size_t requests = 0;
  for (const ServerFact& server : snapshot.servers) requests += server.requests;
  const auto& config = *snapshot.config;
  return {
      memory("user_cache", sizeof(User), snapshot.users.size()),
      memory("credentials_cache", sizeof(decltype(config.auth.passwords)::value_type), config.auth.passwords.size()),
      memory("db_cache", sizeof(Database), snapshot.databases.size()),
      memory("peer_cache", sizeof(poolcfg::PeerEntry), config.file.peers.size()),
      memory("peer_pool_cache", 0, 0),
      memory("pool_cache", sizeof(Pool), snapshot.pools.size()),
      memory("outstanding_request_cache", sizeof(Request), requests),
      memory("server_cache", sizeof(Server), snapshot.servers.size()),
      memory("client_cache", sizeof(Client), clients),
      memory("iobuf_cache", netio::kBufferBytes, 0),
      memory("var_list_cache", sizeof(ParameterSet), 0),
      memory("server_prepared_statement_cache", sizeof(Statement), snapshot.statements)};
}

Rows dns_hosts(const Snapshot& snapshot) {
  Rows rows;
  for (const Resolver::HostRow& host : snapshot.hosts) {
    std::string addresses;
    for (const Address& address : host.addresses) {
      if (!addresses.empty()) addresses += ',';
      addresses += address.text();
    }
    rows.push_back({cell(host.name), cell(host.ttl_seconds), std::move(addresses)});
  }
  return rows;
}

Rows dns_zones(const Snapshot& snapshot) {
  Rows rows;
  for (const Resolver::ZoneRow& zone : snapshot.zones) {
    rows.push_back({cell(zone.zone), cell(zone.serial), cell(zone.names)});
  }
  return rows;
}

}  // namespace

const std::vector<ShowTable>& misc_tables() {
  static const std::vector<ShowTable> tables = {
      {"lists", kPoolFacts | kClientFacts | kServerFacts, {{"list", kText}, {"items", kInt4}}, lists},
      {"mem",
       kPoolFacts | kServerFacts,
       {{"name", kText}, {"size", kInt4}, {"used", kInt4}, {"free", kInt4}, {"memtotal", kInt4}},
       mem},
      {"dns_hosts", kNoFacts, {{"hostname", kText}, {"ttl", kInt8}, {"addrs", kText}}, dns_hosts},
      {"dns_zones", kNoFacts, {{"zonename", kText}, {"serial", kInt8}, {"count", kInt4}}, dns_zones},
  };
  return tables;
}

}  // namespace pgvigil::pool
