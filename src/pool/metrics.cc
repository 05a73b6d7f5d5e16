#include "pool/metrics.h"

#include <algorithm>
#include <array>
#include <map>
#include <tuple>

#include "pool/metrics_text.h"
#include "pool/show.h"

namespace pgvigil::pool {
namespace {

struct CounterMetric {
  std::uint64_t Totals::*field;
  double divisor;
  const char *name, *help;
};
constexpr double kMicros = 1e6;  // divided by: a factor of 1e-6 would show in the last digits
constexpr std::array<CounterMetric, 12> kCounters = {{
    {&Totals::queries, 1, "pgbouncer_stats_queries_pooled_total", "Queries that went through the pooler"},
    {&Totals::query_time, kMicros, "pgbouncer_stats_queries_duration_seconds_total",
     "Time from a query's first packet to its last reply"},
    {&Totals::received, 1, "pgbouncer_stats_received_bytes_total", "Bytes received from clients"},
    {&Totals::sent, 1, "pgbouncer_stats_sent_bytes_total", "Bytes sent to clients"},
    {&Totals::wait_time, kMicros, "pgbouncer_stats_client_wait_seconds_total",
     "Time that clients waited for a server connection"},
    {&Totals::transactions, 1, "pgbouncer_stats_sql_transactions_pooled_total",
     "Transactions that went through the pooler"},
    {&Totals::transaction_time, kMicros, "pgbouncer_stats_server_in_transaction_seconds_total",
     "Time from a transaction's first packet to its end"},
    {&Totals::assignments, 1, "pgbouncer_stats_server_assignments_total",
     "Times that a server connection was given to a client"},
    {&Totals::client_parses, 1, "pgbouncer_stats_client_parses_total", "Named prepared statements made by clients"},
    {&Totals::server_parses, 1, "pgbouncer_stats_server_parses_total", "Prepared statements made on servers"},
    {&Totals::binds, 1, "pgbouncer_stats_binds_total", "Bindings of prepared statements by clients"},
    {&Totals::logins, 1, "pgbouncer_stats_client_logins_total", "Logins of clients that succeeded"},
}};

struct PoolMetric {
  std::size_t PoolFact::*field;
  const char *name, *help;
};
constexpr std::array<PoolMetric, 11> kPoolGauges = {{
    {&PoolFact::waiting, "pgbouncer_pools_client_waiting_connections", "Clients that wait for a server connection"},
    {&PoolFact::cancels_active, "pgbouncer_pools_client_active_cancel_connections",
     "Cancel requests that were forwarded and are not answered yet"},
    {&PoolFact::cancels_waiting, "pgbouncer_pools_client_waiting_cancel_connections",
     "Cancel requests that were not forwarded yet"},
    {&PoolFact::active, "pgbouncer_pools_server_active_connections", "Server connections linked to a client"},
    {&PoolFact::cancels_active, "pgbouncer_pools_server_active_cancel_connections",
     "Connections that carry a cancel request to a server"},
    {&PoolFact::being_canceled, "pgbouncer_pools_server_being_canceled_connections",
     "Server connections that are free but for a cancel request under way"},
    {&PoolFact::idle, "pgbouncer_pools_server_idle_connections", "Server connections ready for a client"},
    {&PoolFact::used, "pgbouncer_pools_server_used_connections", "Idle server connections that are due for a check"},
    {&PoolFact::tested, "pgbouncer_pools_server_testing_connections",
     "Server connections that run a reset or check query"},
    {&PoolFact::login, "pgbouncer_pools_server_login_connections", "Server connections that are logging in"},
    {&PoolFact::clients, "pgvigil_pool_clients", "Clients of a pool, in any state"},
}};

Labels pool_labels(const PoolFact& pool) {
  return {{"database", std::string(pool.database)}, {"user", std::string(pool.user)}};
}

void pools(MetricsText& text, std::vector<PoolFact> all, std::size_t console_sessions) {
  PoolFact console;
  console.database = console.user = kConsoleName;
  console.clients = console_sessions;
  all.push_back(console);
  text.gauge("pgbouncer_pools_client_active_connections", "Clients that do not wait, idle ones too");
  for (const auto& pool : all) {
    text.sample(static_cast<double>(pool.clients - std::min(pool.clients, pool.waiting)), pool_labels(pool));
  }
  for (const auto& metric : kPoolGauges) {
    text.gauge(metric.name, metric.help);
    for (const auto& pool : all) text.sample(static_cast<double>(pool.*metric.field), pool_labels(pool));
  }
  text.gauge("pgbouncer_pools_client_maxwait_seconds", "How long the oldest waiting client has waited");
  for (const auto& pool : all) text.sample(seconds_of(pool.longest_wait), pool_labels(pool));
}

void statistics(MetricsText& text, const std::vector<Statistics::Row>& rows) {
  for (const auto& metric : kCounters) {
    text.counter(metric.name, metric.help);
    for (const auto& row : rows) {
      text.sample(static_cast<double>(row.totals.*metric.field) / metric.divisor, {{"database", row.database}});
    }
  }
}

// The rows of SHOW DATABASES and SHOW LISTS: one place decides what they hold.
struct TableMetric {
  const char *column, *name, *help;
};
void databases(MetricsText& text, const Snapshot& snapshot) {
  static constexpr std::array<TableMetric, 6> kGauges = {{
      {"pool_size", "pgbouncer_databases_pool_size", "Server connections of a pool at most"},
      {"reserve_pool_size", "pgbouncer_databases_reserve_pool", "Further server connections for clients that wait"},
      {"max_connections", "pgbouncer_databases_max_connections", "Server connections of a database at most"},
      {"current_connections", "pgbouncer_databases_current_connections", "Server connections of a database"},
      {"paused", "pgbouncer_databases_paused", "1: PAUSE holds the database"},
      {"disabled", "pgbouncer_databases_disabled", "1: DISABLE keeps clients out of the database"},
  }};
  const ShowTable& table = *find_show("databases");
  const Rows rows = table.rows(snapshot);
  const auto value = [&](const std::vector<Cell>& row, std::string_view column) -> std::string {
    for (std::size_t i = 0; i < table.columns.size(); ++i) {
      if (table.columns[i].name == column) return row[i].value_or("");
    }
    return {};
  };
  for (const auto& gauge : kGauges) {
    text.gauge(gauge.name, gauge.help);
    for (const auto& row : rows) {
      Labels labels;
      for (const std::string_view name : {"name", "host", "port", "database", "force_user", "pool_mode"}) {
        labels.emplace_back(name, value(row, name));
      }
      text.sample(std::stod("0" + value(row, gauge.column)), labels);
    }
  }
}

void lists(MetricsText& text, const Snapshot& snapshot) {
  static constexpr std::array<TableMetric, 11> kGauges = {{
      {"databases", "pgbouncer_databases", "Databases"},
      {"users", "pgbouncer_users", "Users"},
      {"pools", "pgbouncer_pools", "Pools"},
      {"free_clients", "pgbouncer_free_clients", "Client objects that are kept free"},
      {"used_clients", "pgbouncer_used_clients", "Client connections"},
      {"login_clients", "pgbouncer_login_clients", "Clients that are logging in"},
      {"free_servers", "pgbouncer_free_servers", "Server objects that are kept free"},
      {"used_servers", "pgbouncer_used_servers", "Server connections"},
      {"dns_names", "pgbouncer_cached_dns_names", "Names in the DNS cache"},
      {"dns_zones", "pgbouncer_cached_dns_zones", "Zones in the DNS cache"},
      {"dns_queries", "pgbouncer_in_flight_dns_queries", "DNS queries under way"},
  }};
  const Rows rows = find_show("lists")->rows(snapshot);
  for (const auto& gauge : kGauges) {
    for (const auto& row : rows) {
      if (row[0] == gauge.column) text.gauge(gauge.name, gauge.help).sample(std::stod(row[1].value_or("0")));
    }
  }
}

void servers(MetricsText& text, const std::vector<ServerFact>& all) {
  std::map<std::tuple<std::string_view, std::string_view, ServerState, std::string, bool>, int> counts;
  for (const auto& server : all) {
    const std::string where = server.address.ip() + "_" + std::to_string(server.address.port());
    ++counts[{server.user, server.database, server.state, where, server.close_needed}];
  }
  text.gauge("pgbouncer_server_connections", "Server connections by state and address");
  for (const auto& [key, count] : counts) {
    const auto& [user, database, state, where, close_needed] = key;
    text.sample(count, {{"user", std::string(user)},
                        {"database", std::string(database)},
                        {"state", std::string(to_string(state))},
                        {"addr", where},
                        {"close_needed", close_needed ? "true" : "false"}});
  }
}

// What PgBouncer has no word for.
void own(MetricsText& text, const Snapshot& snapshot) {
  text.gauge("pgvigil_pool_workers", "Worker threads").sample(static_cast<double>(snapshot.workers.size()));
  text.gauge("pgvigil_pool_worker_clients", "Client connections of a worker");
  for (std::size_t i = 0; i < snapshot.workers.size(); ++i) {
    text.sample(snapshot.workers[i].clients, {{"worker", std::to_string(i)}});
  }
  if (!snapshot.workers.empty()) {
    text.gauge("pgvigil_pool_io_backend_info", "The workers' way to the kernel");
    const std::string& backend = snapshot.workers.front().backend;
    text.sample(1, {{"backend", backend.substr(0, backend.find(' '))}});
  }
  text.counter("pgvigil_pool_moved_connections_total", "Server connections that went from one worker to another")
      .sample(static_cast<double>(snapshot.moved_connections));
  text.gauge("pgvigil_pool_prepared_statements", "Texts of prepared statements that are in use")
      .sample(static_cast<double>(snapshot.statements));
  text.gauge("pgvigil_pool_console_sessions", "Sessions of the admin console")
      .sample(static_cast<double>(snapshot.console_sessions));
  text.gauge("pgvigil_pool_paused", "1: PAUSE holds all databases").sample(snapshot.paused ? 1 : 0);
  text.gauge("pgvigil_pool_suspended", "1: SUSPEND holds all traffic").sample(snapshot.suspended ? 1 : 0);
  text.gauge("pgvigil_pool_shutting_down", "1: a shutdown waits for connections to end")
      .sample(snapshot.shutting_down ? 1 : 0);
}

}  // namespace

std::string metrics_text(const Snapshot& snapshot) {
  MetricsText text;
  text.gauge("pgbouncer_up", "1: the pooler answers").sample(1);
  text.gauge("pgbouncer_version_info", "The version whose interface this is")
      .sample(1, {{"version", find_show("version")->rows(snapshot).front().front().value_or("")}});
  text.gauge("pgbouncer_config_max_client_connections", "max_client_conn").sample(snapshot.settings().max_client_conn);
  text.gauge("pgbouncer_config_max_user_connections", "max_user_connections")
      .sample(snapshot.settings().max_user_connections);
  statistics(text, snapshot.statistics);
  pools(text, snapshot.pools, snapshot.console_sessions);
  databases(text, snapshot);
  lists(text, snapshot);
  servers(text, snapshot.servers);
  own(text, snapshot);
  return text.take();
}

}  // namespace pgvigil::pool
