#include "api/documents.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "api/metrics.h"
#include "fixture.h"

namespace pgvigil::api {
namespace {

constexpr TimePoint kNow(std::chrono::hours(5));
const Versions kVersions{"4.1.4", "0.1.0"};

Observed observed(agent::AgentStatus status) {
  Observed node;
  node.instance = status.instance;
  node.status = std::make_shared<const agent::AgentStatus>(std::move(status));
  node.now = kNow;
  return node;
}

std::vector<std::string> keys_of(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

TEST(StatusDocument, OfALeader) {
  const auto node = observed(test::leader_status(kNow + std::chrono::seconds(20)));
  EXPECT_EQ(dump_spaced(status_document(node, kVersions)),
            R"({"state": "running", "postmaster_start_time": "2026-01-24 02:13:52.281130+00:00", "role": "primary", )"
            R"("server_version": 150020, "xlog": {"location": 100000000}, "timeline": 1, "dcs_last_seen": 1795486456, )"
            R"("database_system_identifier": "7711555499471225088", )"
            R"("patroni": {"version": "4.1.4", "scope": "demo", "name": "n1"}, )"
            R"("pgvigil": {"version": "0.1.0", "action": "keep-leading", "rule": "leading", )"
            R"("reason": "the lease is proven", "guard_armed": true}})");
}

TEST(StatusDocument, OfAReplicaWithEverything) {
  auto status = test::replica_status();
  ClusterView view = *status.view;
  view.settings.synchronous_mode = SyncMode::On;
  view.sync.standbys = {MemberName("n2")};
  view.leader.reset();
  status.view = test::share(std::move(view));
  WalSender sender;
  sender.user = "replicator";
  sender.application_name = "n3";
  sender.state = "streaming";
  sender.sync_state = "async";
  status.instance.wal_senders = {sender};
  status.instance.replay_paused = true;
  status.instance.replayed_timestamp = "2026-01-24 02:14:00.5+00:00";
  status.instance.pending_restart["max_connections"] = PendingChange{"100", "101"};
  status.paused = true;
  status.failsafe_active = true;
  status.watchdog_failed = true;
  status.raw_tags = R"({"clonefrom":true})";
  RestartRequest restart;
  restart.schedule_text = "2026-02-01T00:00:00+00:00";
  restart.postmaster_start_time = "x";
  restart.restart_pending = true;
  restart.role = Role::Replica;
  restart.timeout = std::chrono::seconds(30);
  status.scheduled_restart = restart;
  status.operation = "creating replica";
  status.progress = "copied 41 %";
  const Json document = status_document(observed(status), kVersions);
  EXPECT_EQ(keys_of(document), (std::vector<std::string>{"state",
                                                         "postmaster_start_time",
                                                         "role",
                                                         "server_version",
                                                         "xlog",
                                                         "sync_standby",
                                                         "timeline",
                                                         "replication_state",
                                                         "replication",
                                                         "pause",
                                                         "cluster_unlocked",
                                                         "failsafe_mode_is_active",
                                                         "dcs_last_seen",
                                                         "tags",
                                                         "database_system_identifier",
                                                         "pending_restart",
                                                         "pending_restart_reason",
                                                         "patroni",
                                                         "scheduled_restart",
                                                         "watchdog_failed",
                                                         "pgvigil"}));
  EXPECT_EQ(dump_spaced(document["xlog"]), R"({"received_location": 100000000, "replayed_location": 100000000, )"
                                           R"("replayed_timestamp": "2026-01-24 02:14:00.5+00:00", "paused": true})");
  EXPECT_EQ(dump_spaced(document["replication"]),
            R"([{"usename": "replicator", "application_name": "n3", "client_addr": null, "state": "streaming", )"
            R"("sync_state": "async", "sync_priority": 0}])");
  EXPECT_EQ(dump_spaced(document["scheduled_restart"]),
            R"({"schedule": "2026-02-01T00:00:00+00:00", "role": "replica", "restart_pending": true, "timeout": 30})");
  EXPECT_EQ(dump_spaced(document["pending_restart_reason"]),
            R"({"max_connections": {"old_value": "100", "new_value": "101"}})");
  EXPECT_EQ(document["pgvigil"]["operation"], "creating replica");
  EXPECT_EQ(document["pgvigil"]["progress"], "copied 41 %");
}

TEST(StatusDocument, WhenPostgresDoesNotAnswer) {
  auto status = test::replica_status();
  status.view = nullptr;
  status.dcs_last_seen.reset();
  status.instance = Instance();
  Json document = status_document(observed(status), kVersions);
  EXPECT_EQ(keys_of(document),
            (std::vector<std::string>{"state", "role", "cluster_unlocked", "dcs_last_seen", "patroni", "pgvigil"}));
  EXPECT_EQ(document["state"], "unknown");
  EXPECT_EQ(document["role"], "replica");
  status.state = InstanceState::CreatingReplica;
  status.role = Role::Uninitialized;
  document = status_document(observed(status), kVersions);
  EXPECT_EQ(document["state"], "creating replica");
  EXPECT_EQ(document["role"], "uninitialized");
}

TEST(StatusDocument, RoleOfAStandbyIsTheAgentsInAStandbyCluster) {
  auto status = test::replica_status();
  status.role = Role::StandbyLeader;
  EXPECT_EQ(status_document(observed(status), kVersions)["role"], "replica");
  ClusterView view = *status.view;
  view.settings.standby_cluster = StandbyCluster{};
  status.view = test::share(std::move(view));
  status.instance.timeline = Timeline();
  const Json document = status_document(observed(status), kVersions);
  EXPECT_EQ(document["role"], "standby_leader");
  EXPECT_TRUE(document["timeline"].is_null());
}

TEST(ClusterDocument, MembersByNameWithRolesAndLag) {
  ClusterView view = test::make_view();
  std::swap(view.members[0], view.members[2]);  // n3, n2, n1
  Member& n3 = view.members[0];
  Member& n2 = view.members[1];
  n2.replication_state = "streaming";
  n2.receive_lsn = Lsn(100000000);
  n2.replay_lsn = Lsn(99999000);
  n2.wal_position = Lsn(100000010);
  n2.raw = R"({"timeline":3,"tags":{"x":1},"pending_restart":true,"unpublished":1})";
  n3.progress = "copied 41 %";
  view.settings.synchronous_mode = SyncMode::On;
  view.sync.standbys = {MemberName("n2")};
  view.settings.pause = true;
  FailoverRequest failover;
  failover.leader = MemberName("n1");
  failover.candidate = MemberName("n2");
  failover.scheduled_text = "2026-01-24T04:13:52+02:00";
  failover.scheduled_at = WallTime(std::chrono::seconds(1769220832));
  view.failover = failover;
  EXPECT_EQ(
      dump_spaced(cluster_document(view, "demo")),
      R"({"members": [{"name": "n1", "role": "leader", "state": "running", )"
      R"("api_url": "http://127.0.0.1:8008/patroni", "host": "127.0.0.1", "port": 5432}, )"
      R"({"name": "n2", "role": "sync_standby", "state": "streaming", "api_url": "http://127.0.0.1:8008/patroni", )"
      R"("host": "127.0.0.1", "port": 5432, "timeline": 3, "pending_restart": true, "tags": {"x": 1}, )"
      R"("receive_lag": 0, "receive_lsn": "0/5F5E100", "replay_lag": 1000, "replay_lsn": "0/5F5DD18", )"
      R"("lag": 0, "lsn": "0/5F5E10A"}, )"
      R"({"name": "n3", "role": "replica", "state": "running", "api_url": "http://127.0.0.1:8008/patroni", )"
      R"("host": "127.0.0.1", "port": 5432, "receive_lsn": "unknown", "receive_lag": "unknown", )"
      R"("replay_lsn": "unknown", "replay_lag": "unknown", "lsn": "unknown", "lag": "unknown", )"
      R"("progress": "copied 41 %"}], "scope": "demo", "pause": true, )"
      R"("scheduled_switchover": {"at": "2026-01-24T04:13:52+02:00", "from": "n1", "to": "n2"}})");
  view.settings.synchronous_mode = SyncMode::Quorum;
  view.settings.standby_cluster = StandbyCluster{};
  const Json document = cluster_document(view, "demo");
  EXPECT_EQ(document["members"][0]["role"], "standby_leader");
  EXPECT_EQ(document["members"][1]["role"], "quorum_standby");
}

TEST(StoredDocuments, AreGivenAsStoredOrNotAtAll) {
  ClusterView view = test::make_view();
  EXPECT_FALSE(history_document(view));
  view.history_text = R"([[1,83886520,"no recovery target specified","2026-01-24T02:13:52+00:00","n1"]])";
  EXPECT_EQ(dump_spaced(*history_document(view)),
            R"([[1, 83886520, "no recovery target specified", "2026-01-24T02:13:52+00:00", "n1"]])");
  view.history_text = "{}";
  EXPECT_FALSE(history_document(view));
  EXPECT_EQ(dump_spaced(*config_document(view)),
            R"({"ttl": 30, "loop_wait": 10, "postgresql": {"parameters": {"max_connections": 100}}})");
  view.config = "[1";
  EXPECT_FALSE(config_document(view));
  EXPECT_FALSE(failsafe_document(view));
  view.failsafe_present = true;
  view.failsafe = {{"n1", "http://a"}};
  EXPECT_EQ(dump_spaced(*failsafe_document(view)), R"({"n1": "http://a"})");
}

std::vector<std::string> metric_names(const std::string& text) {
  std::vector<std::string> names;
  for (std::size_t at = text.find("# HELP "); at != std::string::npos; at = text.find("# HELP ", at + 1)) {
    names.push_back(text.substr(at + 7, text.find(' ', at + 7) - at - 7));
  }
  return names;
}

TEST(Metrics, PatronisComeFirstInTheirOrder) {
  const auto text = metrics_text(observed(test::replica_status()), kVersions, ServerCounters());
  const std::vector<std::string> expected{"patroni_version",
                                          "patroni_postgres_running",
                                          "patroni_postmaster_start_time",
                                          "patroni_primary",
                                          "patroni_xlog_location",
                                          "patroni_standby_leader",
                                          "patroni_replica",
                                          "patroni_sync_standby",
                                          "patroni_quorum_standby",
                                          "patroni_xlog_received_location",
                                          "patroni_xlog_replayed_location",
                                          "patroni_xlog_replayed_timestamp",
                                          "patroni_xlog_paused",
                                          "patroni_postgres_streaming",
                                          "patroni_postgres_in_archive_recovery",
                                          "patroni_postgres_server_version",
                                          "patroni_cluster_unlocked",
                                          "patroni_failsafe_mode_is_active",
                                          "patroni_failsafe_mode_enabled",
                                          "patroni_failsafe_member",
                                          "patroni_postgres_timeline",
                                          "patroni_dcs_last_seen",
                                          "patroni_pending_restart",
                                          "patroni_is_paused",
                                          "patroni_postgres_state",
                                          "patroni_failover_priority"};
  auto names = metric_names(text);
  ASSERT_GT(names.size(), expected.size());
  for (std::size_t i = expected.size(); i < names.size(); ++i) EXPECT_EQ(names[i].substr(0, 8), "pgvigil_");
  names.resize(expected.size());
  EXPECT_EQ(names, expected);
}

TEST(Metrics, ValuesAndLines) {
  auto status = test::leader_status(kNow + std::chrono::milliseconds(2500));
  status.scope = "de\"mo";
  status.operation = "restarting";
  const auto text = metrics_text(observed(status), kVersions, ServerCounters());
  const auto has = [&](const std::string& line) { return ("\n" + text).find("\n" + line + "\n") != std::string::npos; };
  const std::string labels = R"({scope="de\"mo",name="n1"})";
  EXPECT_TRUE(has("patroni_version" + labels + " 040104"));
  EXPECT_TRUE(has("# TYPE patroni_xlog_location counter"));
  EXPECT_TRUE(has("patroni_xlog_location" + labels + " 100000000"));
  EXPECT_TRUE(has("patroni_postmaster_start_time" + labels + " 1769220832.28113"));
  EXPECT_TRUE(has("patroni_xlog_replayed_timestamp" + labels + " 0"));
  EXPECT_TRUE(has("patroni_primary" + labels + " 1"));
  EXPECT_TRUE(has("patroni_postgres_state" + labels + " 5"));
  EXPECT_TRUE(has("patroni_dcs_last_seen" + labels + " 1795486456"));
  EXPECT_TRUE(has(R"(pgvigil_lease_margin_seconds{scope="de\"mo",name="n1"} 2.5)"));
  EXPECT_TRUE(has(R"(pgvigil_decisions_total{scope="de\"mo",name="n1",rule="leading"} 12)"));
  EXPECT_TRUE(has(R"(pgvigil_operation{scope="de\"mo",name="n1",operation="restarting"} 1)"));
  EXPECT_TRUE(has("pgvigil_guard_armed" + labels + " 1"));
  const std::size_t help = text.find("# HELP patroni_postgres_state ");
  const std::size_t values = text.find("# Values: 0=initdb, 1=initdb_failed, 2=custom_bootstrap, ");
  const std::size_t type = text.find("# TYPE patroni_postgres_state gauge");
  EXPECT_TRUE(help < values && values < type && type != std::string::npos);
}

TEST(Metrics, OfANodeWithoutPostgres) {
  auto status = test::replica_status();
  status.instance = Instance();
  status.tags.nofailover = true;
  const auto text = metrics_text(observed(status), kVersions, ServerCounters());
  EXPECT_EQ(text.find("patroni_postgres_streaming"), std::string::npos);
  EXPECT_NE(text.find("patroni_postgres_state{scope=\"demo\",name=\"n2\"} -1\n"), std::string::npos);
  EXPECT_NE(text.find("patroni_postgres_server_version{scope=\"demo\",name=\"n2\"} 0\n"), std::string::npos);
  EXPECT_NE(text.find("patroni_failover_priority{scope=\"demo\",name=\"n2\"} 0\n"), std::string::npos);
}

TEST(Metrics, PaddedVersion) {
  EXPECT_EQ(padded_version("4.1.4"), "040104");
  EXPECT_EQ(padded_version("10.0.12"), "100012");
}

}  // namespace
}  // namespace pgvigil::api
