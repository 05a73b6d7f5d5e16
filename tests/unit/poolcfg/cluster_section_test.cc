// [cluster] and the role of databases.
#include "helpers.h"

namespace pgvigil::poolcfg {
namespace {

const std::string kCluster = "[cluster]\nscope = demo\netcd_hosts = 10.0.0.1:2379, [::1]:2379\n";

std::string refused_line(const std::string& line) { return refusal("[pgbouncer]\n" + kCluster + line + "\n"); }

TEST(ClusterSection, WithoutItThereIsNone) { EXPECT_FALSE(good("[pgbouncer]\n").cluster); }

TEST(ClusterSection, ItsKeys) {
  const auto config = good("[pgbouncer]\n" + kCluster +
                           "namespace = /a/b/\nname = p1\netcd_protocol = https\netcd_cacert = ca\netcd_cert = c\n"
                           "etcd_key = k\netcd_username = u\netcd_password = s\nrest_cacert = r\nread_port = 6433\n"
                           "max_replica_lag = 1048576\nmax_replica_lag_time = 2.5\nreplica_fallback = refuse\n"
                           "causal_reads_timeout = 0.5\nlocal_socket = /run\n");
  ASSERT_TRUE(config.cluster);
  const ClusterSection& cluster = *config.cluster;
  EXPECT_EQ(cluster.scope, "demo");
  EXPECT_EQ(cluster.name_space, "a/b");
  EXPECT_EQ(cluster.name, "p1");
  EXPECT_THAT(cluster.etcd_hosts, ElementsAre("10.0.0.1:2379", "[::1]:2379"));
  EXPECT_TRUE(cluster.etcd_tls);
  EXPECT_EQ(cluster.etcd_password.reveal(), "s");
  EXPECT_EQ(cluster.read_port, 6433);
  EXPECT_EQ(cluster.max_replica_lag, 1048576);
  EXPECT_EQ(cluster.max_replica_lag_time, Micros(2500000));
  EXPECT_EQ(cluster.replica_fallback, ReplicaFallback::Refuse);
  EXPECT_EQ(cluster.causal_reads_timeout, Micros(500000));
  EXPECT_EQ(cluster.local_socket, "/run");
}

TEST(ClusterSection, WhatCannotBeUsedIsNamed) {
  EXPECT_THAT(refused_line("scop = x"), AllOf(HasSubstr("p.ini:5: scop"), HasSubstr("did you mean \"scope\"?")));
  EXPECT_THAT(refused_line("scope = a/b"), AllOf(HasSubstr("p.ini:5: scope = \"a/b\""), HasSubstr("has a /")));
  EXPECT_THAT(refused_line("etcd_hosts = here"), AllOf(HasSubstr("\"here\""), HasSubstr("host:port")));
  EXPECT_THAT(refused_line("etcd_hosts = a:0"), HasSubstr("host:port"));
  EXPECT_THAT(refused_line("etcd_hosts = ::1:2379"), HasSubstr("host:port"));
  EXPECT_THAT(refused_line("etcd_protocol = tcp"), HasSubstr("valid: http, https"));
  EXPECT_THAT(refused_line("read_port = 70000"), HasSubstr("65535"));
  EXPECT_THAT(refused_line("read_port = 6432"), AllOf(HasSubstr("p.ini:5: read_port"), HasSubstr("listen_port")));
  EXPECT_THAT(refused_line("max_replica_lag = -1"), HasSubstr("p.ini:5: max_replica_lag"));
  EXPECT_THAT(refused_line("replica_fallback = x"), HasSubstr("valid: leader, refuse"));
  EXPECT_THAT(refused_line("local_socket = run"), HasSubstr("valid: auto, off"));
  EXPECT_THAT(refused_line("etcd_cert = x"), AllOf(HasSubstr("p.ini:2: [cluster]"), HasSubstr("etcd_key")));
  EXPECT_THAT(refusal("[pgbouncer]\n[cluster]\netcd_hosts = a:1\n"),
              AllOf(HasSubstr("p.ini:2: [cluster]"), HasSubstr("no scope")));
  EXPECT_THAT(refusal("[pgbouncer]\n[cluster]\nscope = a\n"), HasSubstr("no etcd_hosts"));
}

TEST(DatabaseRole, NeedsTheClusterAndNoHost) {
  const auto config =
      good("[pgbouncer]\n" + kCluster + "[databases]\na = role=primary\nb = role=replica\n* = role=any\n");
  EXPECT_EQ(config.databases.at("a").role, ServerRole::Primary);
  EXPECT_EQ(config.databases.at("b").role, ServerRole::Replica);
  EXPECT_EQ(config.any_database->role, ServerRole::Any);
  EXPECT_EQ(database_from_any(*config.any_database, "x").role, ServerRole::Any);
  EXPECT_THAT(no_database("role=primary"), AllOf(HasSubstr("p.ini:3: db: role"), HasSubstr("[cluster]")));
  EXPECT_THAT(no_database("role=master"), HasSubstr("valid: primary, replica, any"));
  EXPECT_THAT(refusal("[pgbouncer]\n" + kCluster + "[databases]\na = role=primary host=x\n"),
              AllOf(HasSubstr("p.ini:6: a: role"), HasSubstr("host=")));
}

TEST(DatabaseRole, AnotherRoleIsAnotherConnection) {
  const auto config =
      good("[pgbouncer]\n" + kCluster + "[databases]\na = role=primary dbname=x\nb = role=any dbname=x\n");
  EXPECT_FALSE(config.databases.at("a").same_connection(config.databases.at("b")));
}

}  // namespace
}  // namespace pgvigil::poolcfg
