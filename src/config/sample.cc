#include "config/sample.h"

#include <fmt/format.h>

namespace pgvigil::config {

std::string sample_config(const SampleChoices& choices) {
  return fmt::format(
      R"(# pgvigil agent. Reads like Patroni's file: `pgvigil check-config FILE` says what is wrong with it.
scope: {scope}
name: {name}

etcd3:
  hosts: [{host}:2379]

restapi:
  listen: 0.0.0.0:8008
  connect_address: {host}:8008

# Counts only until the cluster exists; afterwards: edit-config.
bootstrap:
  dcs:
    ttl: 30
    loop_wait: 10
    retry_timeout: 10
    maximum_lag_on_failover: 1MB
    postgresql:
      use_pg_rewind: true
      use_slots: true
      parameters:
        max_connections: 100
  initdb:
    - encoding: UTF8
    - data-checksums

postgresql:
  listen: 0.0.0.0:5432
  connect_address: {host}:5432
  data_dir: /var/lib/postgresql/data
  # One password in each file, readable by the user of the agent only.
  authentication:
    superuser:
      username: postgres
      password_file: /etc/pgvigil/superuser-password
    replication:
      username: replicator
      password_file: /etc/pgvigil/replication-password
  pg_hba:
    - local all all trust
    - host all all 127.0.0.1/32 scram-sha-256
    - host replication replicator {host}/32 scram-sha-256
    - host all all {host}/32 scram-sha-256

tags:
  nofailover: false
)",
      fmt::arg("scope", choices.scope), fmt::arg("name", choices.name), fmt::arg("host", choices.host));
}

}  // namespace pgvigil::config
