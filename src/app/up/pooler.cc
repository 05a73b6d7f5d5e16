#include "app/up/pooler.h"

#include <fmt/format.h>

#include "postgres/conf_files.h"

namespace pgvigil::app {
namespace {

std::string quoted(const std::string& text) {
  std::string safe;
  for (const char c : text) safe += c == '"' ? std::string("\"\"") : std::string(1, c);
  return '"' + safe + '"';
}

}  // namespace

Result<void> write_pooler(const Deployment& deployment, const Part& pooler, const Secret& superuser) {
  const std::string certs = deployment.certificates();
  const std::string users = pooler.directory + "/userlist.txt";
  // Users other than postgres are looked up in the database, and log in there with the keys that they have proven here.
  const std::string ini = fmt::format(
      "; Made by `pgvigil up`. Writes go to whoever leads the cluster, reads of the second port to a replica.\n"
      "[databases]\n* = role=primary\n\n"
      "[cluster]\nscope = {0}\netcd_hosts = {1}\netcd_protocol = https\netcd_cacert = {5}/ca.crt\n"
      "etcd_cert = {5}/client.crt\netcd_key = {5}/client.key\nread_port = {6}\nmax_replica_lag = 16777216\n\n"
      "[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {2}\nunix_socket_dir = {3}\nunix_socket_mode = 0700\n\n"
      "pool_mode = transaction\nmax_client_conn = 1000\ndefault_pool_size = 25\nmax_db_connections = 100\n"
      "ignore_startup_parameters = extra_float_digits\n\n"
      "auth_type = scram-sha-256\nauth_file = {4}\nauth_user = postgres\nauth_dbname = postgres\n"
      "admin_users = postgres\nstats_users = postgres\n\n"
      "client_tls_sslmode = require\nclient_tls_key_file = {5}/postgresql.key\nclient_tls_cert_file = "
      "{5}/postgresql.crt\n"
      "client_tls_ca_file = {5}/ca.crt\nserver_tls_sslmode = verify-ca\nserver_tls_ca_file = {5}/ca.crt\n",
      kDeploymentScope, etcd_hosts(deployment), pooler.port("writes"), pooler.directory, users, certs,
      pooler.port("reads"));
  PGV_TRY_VOID(postgres::replace_file(pooler.config, ini, 0600));
  PGV_TRY_VOID(postgres::replace_file(users, fmt::format("\"postgres\" {}\n", quoted(superuser.reveal())), 0600));
  return {};
}

}  // namespace pgvigil::app
