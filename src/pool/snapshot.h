// What SHOW commands and metrics are made of: facts copied from the shared tables and, where asked for, from every
// worker. Values only; a worker's part is a bounded copy, the rest of the work is the control thread's.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "pool/address.h"
#include "pool/client.h"
#include "pool/pool_statistics.h"
#include "pool/resolver.h"
#include "pool/running_config.h"
#include "pool/server.h"

namespace pgvigil::pool {

struct Pooler;
class Database;
class Pool;
class User;

// Names are views into catalog entries and string literals: both stay for the life of the process.
struct PoolFact {
  std::string_view database, user;
  std::size_t clients = 0;         // logged in, and those that wait at login
  std::size_t waiting = 0;         // of these, in the queue
  std::size_t cancels_active = 0;  // cancel requests that are on their way to a server
  std::size_t cancels_waiting = 0;
  std::size_t active = 0, being_canceled = 0, idle = 0, used = 0, tested = 0, login = 0;
  Duration longest_wait{0};
  poolcfg::PoolMode mode = poolcfg::PoolMode::Session;
  std::optional<poolcfg::LoadBalance> load_balance;  // only where there is a list of hosts
};

enum class ReplicationKind : std::uint8_t { None, Logical, Physical };

struct ClientFact {
  enum class State : std::uint8_t { Login, Idle, Active, Waiting } state = State::Idle;
  std::string_view database, user;  // empty: not known yet
  ReplicationKind replication = ReplicationKind::None;
  ClientAddress address;
  std::optional<Address> local;  // not for many clients: it costs a system call each
  std::uint16_t listen_port = 0;
  TimePoint connected_at, last_activity, query_started;
  std::size_t unsent = 0, statements = 0;
  std::uint64_t id = 0;
  std::uint64_t link = 0;  // the id of its server connection
  std::string tls, application_name;
};

struct ServerFact {
  ServerState state = ServerState::Login;
  std::string_view database, user;
  ReplicationKind replication = ReplicationKind::None;
  Address address;
  std::optional<Address> local;
  TimePoint connected_at, last_activity, query_started;
  bool close_needed = false;
  std::uint32_t remote_pid = 0;
  std::size_t unsent = 0, statements = 0, requests = 0;
  std::uint64_t id = 0;
  std::uint64_t link = 0;  // the id of its client
  std::string tls, application_name;
};

struct DatabaseFact {
  std::string_view name;
  std::shared_ptr<const poolcfg::DatabaseEntry> entry;
  bool automatic = false, paused = false, disabled = false;
  int clients = 0, servers = 0;
};

struct UserFact {
  std::string_view name;
  int clients = 0, servers = 0;
};

struct MemberFact {
  std::string name;
  int connections = 0;
};

struct WorkerFact {
  std::string backend;
  int clients = 0;
};

struct Snapshot {
  TimePoint now;
  WallTime wall;
  RunningConfigPtr config;
  bool paused = false, suspended = false, shutting_down = false;
  int client_sockets = 0;
  std::size_t login_clients = 0;  // with Facts::Clients only
  std::size_t statements = 0;     // texts in the table of prepared statements
  std::size_t console_sessions = 0;
  std::uint64_t moved_connections = 0;
  std::vector<Statistics::Row> statistics;
  std::vector<DatabaseFact> databases;  // by name, without the console's
  std::vector<UserFact> users;
  std::vector<PoolFact> pools;  // by database and user, without the console's
  std::vector<ClientFact> clients;
  std::vector<ServerFact> servers;
  std::vector<WorkerFact> workers;
  ClusterStatePtr cluster;          // null: none is followed, or nothing is known of it yet
  std::vector<MemberFact> members;  // of the cluster: what this pooler has open to them
  std::vector<Resolver::HostRow> hosts;
  std::vector<Resolver::ZoneRow> zones;
  std::size_t resolver_queries = 0;

  [[nodiscard]] const poolcfg::Settings& settings() const { return config->settings(); }
};

// Which facts the workers are asked for.
enum Facts : unsigned { kNoFacts = 0, kPoolFacts = 1, kClientFacts = 2, kServerFacts = 4, kWorkerFacts = 8 };

// On the control thread; `done` too, at once when the workers are not asked.
void take_snapshot(Pooler& pooler, const Statistics& statistics, TimePoint now, unsigned facts,
                   std::function<void(std::shared_ptr<Snapshot>)> done);

}  // namespace pgvigil::pool
