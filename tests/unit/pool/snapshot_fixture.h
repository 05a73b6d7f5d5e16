// A small pooler as a snapshot.
#pragma once

#include "pool/snapshot.h"

namespace pgvigil::pool {

inline Snapshot small_snapshot() {
  Snapshot snapshot;
  snapshot.now = TimePoint(std::chrono::seconds(1000));
  snapshot.wall = WallTime(std::chrono::seconds(1700000000));
  auto config = std::make_shared<RunningConfig>();
  config->file.settings.listen_port = 6432;
  config->file.settings.max_user_connections = 7;
  config->auth.passwords.emplace("zoe", Secret("x"));
  poolcfg::UserEntry ann;
  ann.name = "ann";
  ann.pool_size = 12;
  ann.pool_mode = poolcfg::PoolMode::Transaction;
  ann.max_user_connections = 3;
  config->file.users.emplace("ann", ann);
  config->file.peers.emplace(2, poolcfg::PeerEntry{2, "/tmp/p2", 6432, std::nullopt});
  snapshot.config = config;

  poolcfg::DatabaseEntry app;
  app.name = "app";
  app.dbname = "app_v2";
  app.hosts = {"10.0.0.1", "10.0.0.2"};
  app.host_text = "10.0.0.1,10.0.0.2";
  app.pool_size = 5;
  app.pool_mode = poolcfg::PoolMode::Transaction;
  app.user = "owner";
  poolcfg::DatabaseEntry zeta;
  zeta.name = zeta.dbname = "zeta";
  snapshot.databases.push_back({"app", std::make_shared<poolcfg::DatabaseEntry>(app), false, false, false, 3, 2});
  snapshot.databases.push_back({"auto", std::make_shared<poolcfg::DatabaseEntry>(zeta), true, false, false, 0, 0});
  snapshot.databases.push_back({"zeta", std::make_shared<poolcfg::DatabaseEntry>(zeta), false, true, true, 0, 0});
  snapshot.users.push_back({"ann", 3, 2});

  PoolFact pool;
  pool.database = "app";
  pool.user = "owner";
  pool.clients = 3;
  pool.waiting = 1;
  pool.active = 2;
  pool.longest_wait = std::chrono::microseconds(1500042);
  pool.mode = poolcfg::PoolMode::Transaction;
  pool.load_balance = poolcfg::LoadBalance::RoundRobin;
  snapshot.pools.push_back(pool);
  PoolFact other;
  other.database = other.user = "zeta";
  other.idle = 4;
  snapshot.pools.push_back(other);

  ClientFact client;
  client.database = "app";
  client.user = "ann";
  client.state = ClientFact::State::Active;
  client.address.address.kind = poolcfg::PeerAddress::Kind::V4;
  client.address.address.bytes = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 127, 0, 0, 1};
  client.address.port = 40000;
  client.listen_port = 6432;
  client.connected_at = snapshot.now - std::chrono::seconds(100);
  client.last_activity = snapshot.now - std::chrono::seconds(2);
  client.query_started = snapshot.now - std::chrono::microseconds(2000003);
  client.link = 19;
  client.id = 17;
  client.statements = 2;
  client.application_name = "psql";
  snapshot.clients.push_back(client);
  ClientFact login;
  login.state = ClientFact::State::Login;
  login.address.pid = 77;
  login.unsent = 9;
  login.id = 18;
  snapshot.clients.push_back(login);
  snapshot.login_clients = 1;

  ServerFact server;
  server.database = "app";
  server.user = "owner";
  server.state = ServerState::Active;
  server.address = *literal_address("10.0.0.1", 5432);
  server.remote_pid = 4711;
  server.close_needed = true;
  server.id = 19;
  server.link = 17;
  snapshot.servers.push_back(server);

  Totals totals;
  totals.queries = 10;
  totals.query_time = 2500000;
  snapshot.statistics.push_back({"app", totals, {}});
  snapshot.statistics.push_back({"pgbouncer", {}, {}});
  snapshot.client_sockets = 5;
  snapshot.console_sessions = 1;
  snapshot.moved_connections = 6;
  snapshot.workers = {{"epoll (io_uring: Operation not permitted)", 3}, {"epoll", 2}};
  return snapshot;
}

}  // namespace pgvigil::pool
