// The pooler's configuration: PgBouncer's ini file as typed values. One row of a table for each setting drives reading,
// SET, SHOW CONFIG, what a reload may change, and the documentation.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/secret.h"
#include "poolcfg/cluster_section.h"

namespace pgvigil::poolcfg {

enum class PoolMode : std::uint8_t { Session, Transaction, Statement };
enum class AuthType : std::uint8_t { Any, Trust, Plain, Md5, ScramSha256, Cert, Hba, Pam, Ldap, Peer, Reject };
enum class SslMode : std::uint8_t { Disable, Allow, Prefer, Require, VerifyCa, VerifyFull };
enum class LoadBalance : std::uint8_t { RoundRobin, Disable };

// Run as auth_user to find a password. Every name and operator is qualified: a search_path that a client chose must not
// decide whose table or function is asked.
inline constexpr std::string_view kDefaultAuthQuery =
    "SELECT rolname, CASE WHEN rolvaliduntil OPERATOR(pg_catalog.<) pg_catalog.now() THEN NULL ELSE rolpassword END "
    "FROM pg_catalog.pg_authid WHERE rolname OPERATOR(pg_catalog.=) $1 AND rolcanlogin";

std::string_view to_string(PoolMode mode);
std::string_view to_string(AuthType type);
std::string_view to_string(SslMode mode);
std::string_view to_string(LoadBalance balance);

struct TlsFiles {  // client_tls_* or server_tls_*
  SslMode sslmode = SslMode::Disable;
  std::string key_file, cert_file, ca_file;
  std::string protocols = "secure", ciphers = "default", ciphers13, ecdhcurve = "auto", dheparams = "auto";
  static TlsFiles with(SslMode mode) {
    TlsFiles files;
    files.sslmode = mode;
    return files;
  }
  friend bool operator==(const TlsFiles&, const TlsFiles&) = default;
};

// [pgbouncer]. Names are the file's. Times in microseconds, 0 = off unless the specification of the setting says
// otherwise.
struct Settings {
  std::string logfile, pidfile, user, syslog_ident = "pgbouncer", syslog_facility = "daemon", conffile,
                                      job_name = "pgbouncer";
  int syslog = 0, verbose = 0;
  std::string listen_addr, unix_socket_dir = "/tmp", unix_socket_group;
  int listen_port = 6432, listen_backlog = 128, unix_socket_mode = 0777;
  int so_reuseport = 0, tcp_defer_accept = 1, tcp_keepalive = 1, tcp_keepcnt = 0, tcp_keepidle = 0, tcp_keepintvl = 0;
  int tcp_user_timeout = 0, tcp_socket_buffer = 0, pkt_buf = 4096, sbuf_loopcnt = 5;
  std::uint32_t max_packet_size = 2147483647;
  int peer_id = 0;
  PoolMode pool_mode = PoolMode::Session;
  int max_client_conn = 100, default_pool_size = 20, min_pool_size = 0, reserve_pool_size = 0;
  Micros reserve_pool_timeout = std::chrono::seconds(5);
  int max_db_connections = 0, max_db_client_connections = 0, max_user_connections = 0, max_user_client_connections = 0;
  int server_round_robin = 0, max_prepared_statements = 200, disable_pqexec = 0;
  Micros autodb_idle_timeout = std::chrono::seconds(3600), pool_idle_timeout{0};
  int application_name_add_host = 0;
  std::vector<std::string> track_extra_parameters = {"IntervalStyle"};
  std::vector<std::string> ignore_startup_parameters;
  std::string login_notify_message;
  int query_wait_notify = 5;
  Micros server_lifetime = std::chrono::seconds(3600), server_idle_timeout = std::chrono::seconds(600);
  Micros server_connect_timeout = std::chrono::seconds(15), server_login_retry = std::chrono::seconds(15);
  Micros server_check_delay = std::chrono::seconds(30);
  std::string server_check_query = "<empty>";  // "<empty>": an empty simple query; "": no check
  std::string server_reset_query = "DISCARD ALL";
  int server_reset_query_always = 0, server_fast_close = 0;
  Micros client_login_timeout = std::chrono::seconds(60), client_idle_timeout{0}, query_timeout{0};
  Micros query_wait_timeout = std::chrono::seconds(120), cancel_wait_timeout = std::chrono::seconds(10);
  Micros idle_transaction_timeout{0}, transaction_timeout{0}, suspend_timeout = std::chrono::seconds(10);
  Micros dns_max_ttl = std::chrono::seconds(15), dns_nxdomain_ttl = std::chrono::seconds(15), dns_zone_check_period{0};
  std::string resolv_conf;
  int stats_period = 60;
  AuthType auth_type = AuthType::Md5;
  std::string auth_file, auth_hba_file, auth_ident_file, auth_user;
  std::string auth_query{kDefaultAuthQuery}, auth_dbname, auth_ldap_options;
  int scram_iterations = 4096;
  std::vector<std::string> admin_users, stats_users;
  int log_connections = 1, log_disconnections = 1, log_pooler_errors = 1, log_stats = 1;
  TlsFiles client_tls{};  // sslmode disable
  TlsFiles server_tls = TlsFiles::with(SslMode::Prefer);
  // pgvigil's own; PgBouncer does not know them.
  int workers = 0;                  // threads; 0: one for each core
  std::string io_backend = "auto";  // auto, io_uring, epoll
  std::string metrics_listen;       // host:port; empty: no metrics
  int prepare_unnamed = 1;          // serve unnamed Parse from statements that the server has prepared already
};

// One entry of [databases]. Unset (nothing, or empty): inherits.
struct DatabaseEntry {
  std::string name, dbname;  // dbname: as sent to the server
  std::vector<std::string>
      hosts;              // empty: Unix socket in unix_socket_dir; "/dir" or "@name": Unix; else name or address
  std::string host_text;  // as written
  int port = 5432;
  std::optional<ServerRole> role;  // set: a member of the cluster of this role, instead of hosts
  std::string user;                // forced server user
  std::optional<Secret> password;
  std::string auth_user, auth_query, auth_dbname;
  std::optional<int> pool_size, min_pool_size, reserve_pool_size, max_db_connections, max_db_client_connections;
  std::optional<Micros> server_lifetime, query_wait_timeout;
  std::optional<PoolMode> pool_mode;
  LoadBalance load_balance_hosts = LoadBalance::RoundRobin;
  std::string connect_query;
  // client_encoding, datestyle, timezone, application_name: into the server's startup packet, under these names
  std::vector<std::pair<std::string, std::string>> startup_parameters;
  // Do the server connections of the one serve the other? Compares what PgBouncer compares at reload.
  [[nodiscard]] bool same_connection(const DatabaseEntry& other) const;
};

// One entry of [users].
struct UserEntry {
  std::string name;
  std::optional<int> pool_size, reserve_pool_size, max_user_connections, max_user_client_connections;
  std::optional<PoolMode> pool_mode;
  std::optional<Micros> query_timeout, query_wait_timeout, idle_transaction_timeout, transaction_timeout,
      client_idle_timeout;
};

struct PeerEntry {
  int id = 0;
  std::string host;
  int port = 6432;
  std::optional<int> pool_size;
};

// A whole file, read and checked. Immutable; a reload makes a new one.
struct PoolConfig {
  Settings settings;
  std::map<std::string, DatabaseEntry, std::less<>> databases;  // without "*"
  std::optional<DatabaseEntry> any_database;                    // "*"
  std::map<std::string, UserEntry, std::less<>> users;
  std::map<int, PeerEntry> peers;
  std::optional<ClusterSection> cluster;
  std::set<std::string, std::less<>> written;  // the settings that the file gives a value: what reloaded() needs
  std::vector<std::string> warnings;           // one line each
};

// Reads the file and what it includes. The error names file, line, key, value and what would be valid, with the nearest
// known key for an unknown one; the first error refuses the whole.
Result<PoolConfig> load_config(const std::string& path);
// The same from text; `name` is what errors call it. %include is relative to the working directory, as in PgBouncer.
Result<PoolConfig> parse_config(std::string_view text, const std::string& name);

// The entry of an automatic database: the text of "*" with this name.
DatabaseEntry database_from_any(const DatabaseEntry& any, const std::string& name);

// The value of one setting as SHOW CONFIG prints it, and all of them in its order.
struct SettingRow {
  std::string key, value;
  std::optional<std::string> fallback;  // nothing: NULL
  bool changeable = true;
};
std::vector<SettingRow> show_config(const Settings& settings);
// SET key = value. A boot-only key is accepted without effect. Errors: unknown key, value not valid.
Result<void> set_setting(Settings& settings, std::string_view key, std::string_view value);
// What a reload gives: `fresh`, with the boot-only settings of `running` kept, and settings without default that are no
// longer written kept too.
Settings reloaded(const Settings& running, const PoolConfig& fresh);
// docs/pool-configuration.md's tables.
std::string settings_reference_markdown();

}  // namespace pgvigil::poolcfg
