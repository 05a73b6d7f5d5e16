#include "app/generate_config.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <libpq-fe.h>
#include <net/if.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "config/guc.h"
#include "ctl/yaml_text.h"

namespace pgvigil::app {
namespace {

using Connection = std::unique_ptr<PGconn, decltype(&PQfinish)>;
using Rows = std::vector<std::array<std::string, 2>>;

// What the agent writes by itself, or what belongs to one server and not to its configuration.
constexpr const char* kOwnSettings[] = {
    "data_directory",
    "config_file",
    "hba_file",
    "ident_file",
    "external_pid_file",
    "port",
    "listen_addresses",
    "cluster_name",
    "hot_standby",
    "primary_conninfo",
    "primary_slot_name",
    "restore_command",
    "promote_trigger_file",
    "synchronous_standby_names",
};

Result<Rows> ask(PGconn* connection, const char* sql) {
  const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(connection, sql), PQclear);
  if (PQresultStatus(result.get()) != PGRES_TUPLES_OK)
    return fail(Errc::Failed, "the server did not answer", {}, PQerrorMessage(connection));
  Rows rows;
  for (int r = 0; r < PQntuples(result.get()); ++r) {
    rows.push_back({PQgetvalue(result.get(), r, 0), PQnfields(result.get()) > 1 ? PQgetvalue(result.get(), r, 1) : ""});
  }
  return rows;
}

Result<std::string> ask_one(PGconn* connection, const char* sql) {
  PGV_TRY(rows, ask(connection, sql));
  return rows.empty() ? std::string() : rows.front()[0];
}

// The first address of this machine that others may reach.
std::string own_address() {
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return "127.0.0.1";
  std::string address = "127.0.0.1";
  for (const ifaddrs* at = all; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || at->ifa_addr->sa_family != AF_INET || (at->ifa_flags & IFF_LOOPBACK) != 0) continue;
    char text[INET_ADDRSTRLEN];
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(at->ifa_addr);
    if (inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text) != nullptr) {
      address = text;
      break;
    }
  }
  freeifaddrs(all);
  return address;
}

// Of the running postmaster where that can be seen, else Debian's place for the version.
std::string bin_dir_of(const std::string& data_dir, const std::string& version_number) {
  std::ifstream pid_file(data_dir + "/postmaster.pid");
  std::string pid;
  std::error_code error;
  if (std::getline(pid_file, pid)) {
    const auto program = std::filesystem::read_symlink("/proc/" + pid + "/exe", error);
    if (!error) return program.parent_path();
  }
  return "/usr/lib/postgresql/" + std::to_string(std::atoi(version_number.c_str()) / 10000) + "/bin";
}

nlohmann::ordered_json lines_of(const std::string& file) {
  auto lines = nlohmann::ordered_json::array();
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    const auto first = line.find_first_not_of(" \t");
    if (first != std::string::npos && line[first] != '#') lines.push_back(line.substr(first));
  }
  return lines;
}

std::string indented(const std::string& yaml, int blanks) {
  std::string out;
  for (std::size_t at = 0; at < yaml.size();) {
    const auto end = yaml.find('\n', at);
    out += std::string(static_cast<std::size_t>(blanks), ' ') + yaml.substr(at, end - at) + "\n";
    at = end + 1;
  }
  return out;
}

std::string section(const char* key, const nlohmann::ordered_json& content, int blanks) {
  if (content.empty()) return {};
  return indented(std::string(key) + ":\n" + indented(ctl::yaml_of(content.dump()), 2), blanks);
}

}  // namespace

Result<std::string> generate_config(const std::string& dsn) {
  const char* names[] = {"dbname", "application_name", nullptr};
  const char* values[] = {dsn.empty() ? "postgres" : dsn.c_str(), "pgvigil", nullptr};
  const Connection connection(PQconnectdbParams(names, values, 1), PQfinish);
  if (PQstatus(connection.get()) != CONNECTION_OK) {
    return fail(Errc::Unavailable, "cannot connect to the server", {}, PQerrorMessage(connection.get()),
                "name it with --dsn 'host=... port=... user=...'");
  }
  PGV_TRY(superuser, ask_one(connection.get(), "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"));
  if (superuser != "t")
    return fail(Errc::Refused, "the user is no superuser", PQuser(connection.get()), {}, "use one that is");
  const auto setting = [&](const char* name) {
    return ask_one(connection.get(), ("SELECT current_setting('" + std::string(name) + "')").c_str());
  };
  PGV_TRY(data_dir, setting("data_directory"));
  PGV_TRY(version, setting("server_version_num"));
  PGV_TRY(cluster_name, setting("cluster_name"));
  PGV_TRY(hba_file, setting("hba_file"));
  PGV_TRY(ident_file, setting("ident_file"));
  PGV_TRY(listen, setting("listen_addresses"));
  PGV_TRY(port, setting("port"));
  PGV_TRY(rows, ask(connection.get(),
                    "SELECT name, current_setting(name) FROM pg_settings WHERE context <> 'internal' AND "
                    "(source IN ('configuration file', 'command line') OR name IN ('max_connections', 'wal_level', "
                    "'max_wal_senders', 'max_replication_slots', 'max_worker_processes', 'wal_log_hints', "
                    "'max_locks_per_transaction', 'max_prepared_transactions')) ORDER BY name"));
  auto controlled = nlohmann::ordered_json::object(), own = nlohmann::ordered_json::object();
  for (const auto& [name, value] : rows) {
    if (std::find(std::begin(kOwnSettings), std::end(kOwnSettings), name) != std::end(kOwnSettings)) continue;
    (config::is_controlled(name) ? controlled : own)[name] = value;
  }
  char host[256] = "node";
  gethostname(host, sizeof host - 1);
  const std::string address = own_address();
  std::string text = fmt::format(
      R"(# Made from the server at {address}:{port}. Read it through, then: pgvigil check-config FILE
scope: {scope}
name: {name}

etcd3:
  hosts: [{address}:2379]

restapi:
  listen: 0.0.0.0:8008
  connect_address: {address}:8008

bootstrap:
  dcs:
    ttl: 30
    loop_wait: 10
    retry_timeout: 10
    maximum_lag_on_failover: 1048576
    postgresql:
      use_pg_rewind: true
      use_slots: true
)",
      fmt::arg("address", address), fmt::arg("port", port), fmt::arg("name", host),
      fmt::arg("scope", cluster_name.empty() ? "demo" : cluster_name));
  text += section("parameters", controlled, 6);
  text += fmt::format(R"(
postgresql:
  listen: "{listen}:{port}"
  connect_address: {address}:{port}
  data_dir: {data_dir}
  bin_dir: {bin_dir}
  # One password in each file, readable by the user of the agent only.
  authentication:
    superuser:
      username: {user}
      password_file: /etc/pgvigil/superuser-password
    replication:
      username: replicator
      password_file: /etc/pgvigil/replication-password
)",
                      fmt::arg("listen", listen.empty() ? "127.0.0.1" : listen), fmt::arg("port", port),
                      fmt::arg("address", address), fmt::arg("data_dir", data_dir),
                      fmt::arg("bin_dir", bin_dir_of(data_dir, version)), fmt::arg("user", PQuser(connection.get())));
  text += section("parameters", own, 2);
  text += section("pg_hba", lines_of(hba_file), 2);
  text += section("pg_ident", lines_of(ident_file), 2);
  return text;
}

}  // namespace pgvigil::app
