#include "app/up/pooler.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "postgres/conf_files.h"

namespace pgvigil::app {
namespace {

std::string route_file(const Part& pooler) { return pooler.directory + "/leader.ini"; }

Result<void> write_route(const Part& pooler, const Part& leader) {
  const std::string text = fmt::format(
      "; Made by `pgvigil up`: the node that leads, kept current by its callbacks.\n* = host=localhost port={}\n",
      leader.port("postgresql"));
  PGV_TRY_VOID(postgres::replace_file(route_file(pooler), text, 0600));
  return {};
}

const Part* part_of(const Deployment& deployment, const std::string& kind, const std::string& name = {}) {
  const auto found = std::find_if(deployment.parts.begin(), deployment.parts.end(), [&](const Part& part) {
    return part.kind == kind && (name.empty() || part.name == name);
  });
  return found == deployment.parts.end() ? nullptr : &*found;
}

std::string quoted(const std::string& text) {
  std::string safe;
  for (const char c : text) safe += c == '"' ? std::string("\"\"") : std::string(1, c);
  return '"' + safe + '"';
}

// A pooler that does not hold SIGHUP back yet has just been started: the signal would end it, and it reads its files
// later anyway.
bool takes_reload(pid_t pid) {
  std::ifstream status(fmt::format("/proc/{}/status", pid));
  for (std::string word; status >> word;) {
    if (word != "SigBlk:") continue;
    status >> word;
    return (std::strtoull(word.c_str(), nullptr, 16) >> (SIGHUP - 1) & 1) != 0;
  }
  return false;
}

}  // namespace

Result<void> write_pooler(const Deployment& deployment, const Part& pooler, const Secret& superuser) {
  const std::string certs = deployment.certificates();
  const std::string users = pooler.directory + "/userlist.txt";
  // Users other than postgres are looked up in the database, and log in there with the keys that they have proven here.
  const std::string ini = fmt::format(
      "; Made by `pgvigil up`. The databases are in leader.ini.\n"
      "[databases]\n%include {0}\n\n"
      "[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {1}\nunix_socket_dir = {2}\nunix_socket_mode = 0700\n\n"
      "pool_mode = transaction\nmax_client_conn = 1000\ndefault_pool_size = 25\nmax_db_connections = 100\n"
      "server_login_retry = 1\nignore_startup_parameters = extra_float_digits\n\n"
      "auth_type = scram-sha-256\nauth_file = {3}\nauth_user = postgres\nauth_dbname = postgres\n"
      "admin_users = postgres\nstats_users = postgres\n\n"
      "client_tls_sslmode = require\nclient_tls_key_file = {4}/postgresql.key\nclient_tls_cert_file = "
      "{4}/postgresql.crt\n"
      "client_tls_ca_file = {4}/ca.crt\nserver_tls_sslmode = verify-ca\nserver_tls_ca_file = {4}/ca.crt\n",
      route_file(pooler), pooler.port("writes"), pooler.directory, users, certs);
  PGV_TRY_VOID(postgres::replace_file(pooler.config, ini, 0600));
  PGV_TRY_VOID(postgres::replace_file(users, fmt::format("\"postgres\" {}\n", quoted(superuser.reveal())), 0600));
  const Part* first = part_of(deployment, "agent");
  if (access(route_file(pooler).c_str(), F_OK) == 0 || first == nullptr) return {};
  return write_route(pooler, *first);
}

std::string route_callback(const Deployment& deployment, const Part& node) {
  return fmt::format("{0}/bin/pgvigil route-pooler {0} {1}", deployment.directory, node.name);
}

int run_route(const std::vector<std::string>& arguments) {
  const auto failure = [](const std::string& text) {
    fmt::print(stderr, "pgvigil: {}\n", text);
    return 1;
  };
  if (arguments.size() < 4) return failure("route-pooler is a callback of `pgvigil up`: DIR NODE ACTION ROLE [SCOPE]");
  if (arguments[3] != "primary") return 0;
  const auto deployment = read_deployment(arguments[0]);
  if (!deployment) return failure(deployment.error().message());
  const Part* pooler = part_of(*deployment, "pooler");
  const Part* node = part_of(*deployment, "agent", arguments[1]);
  if (pooler == nullptr || node == nullptr) return failure("there is no such part of the deployment: " + arguments[1]);
  if (const auto done = write_route(*pooler, *node); !done) return failure(done.error().message());
  if (const pid_t pid = running_pid(*deployment, *pooler); pid != 0 && takes_reload(pid)) {
    kill(pid, SIGHUP);
  }
  return 0;
}

}  // namespace pgvigil::app
