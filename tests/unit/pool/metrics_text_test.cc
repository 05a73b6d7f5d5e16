// Metrics as Prometheus reads them.
#include "pool/metrics_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "pool/metrics.h"
#include "snapshot_fixture.h"

namespace pgvigil::pool {
namespace {

using ::testing::HasSubstr;

TEST(MetricsText, WritesFamiliesAndSamples) {
  MetricsText text;
  text.gauge("a", "What it is").sample(1).sample(0.25, {{"x", "y"}, {"z", "q\"\\\n"}});
  text.counter("b_total", "B").sample(1e12);
  EXPECT_EQ(text.take(),
            "# HELP a What it is\n# TYPE a gauge\na 1\na{x=\"y\",z=\"q\\\"\\\\\\n\"} 0.25\n"
            "# HELP b_total B\n# TYPE b_total counter\nb_total 1000000000000\n");
}

TEST(MetricsText, ReplacesWhatIsNotUtf8) {
  EXPECT_EQ(label_value("caf\xc3\xa9"), "caf\xc3\xa9");
  EXPECT_EQ(label_value("\xe2\x82\xac\xf0\x9f\x90\x98"), "\xe2\x82\xac\xf0\x9f\x90\x98");
  EXPECT_EQ(label_value("a\xff"
                        "b\xc3"),
            "a?b?");
  EXPECT_EQ(label_value("\xed\xa0\x80"), "???") << "a surrogate";
  EXPECT_EQ(label_value("\xc0\x80"), "??") << "an overlong zero";
}

TEST(Metrics, HaveTheExportersNames) {
  const auto text = metrics_text(small_snapshot());
  for (const char* line :
       {"pgbouncer_up 1\n",
        "pgbouncer_version_info{version=\"PgBouncer 1.25.2\"} 1\n",
        "pgbouncer_config_max_client_connections 100\n",
        "pgbouncer_config_max_user_connections 7\n",
        "pgbouncer_stats_queries_pooled_total{database=\"app\"} 10\n",
        "pgbouncer_stats_queries_duration_seconds_total{database=\"app\"} 2.5\n",
        "pgbouncer_pools_client_active_connections{database=\"app\",user=\"owner\"} 2\n",
        "pgbouncer_pools_client_waiting_connections{database=\"app\",user=\"owner\"} 1\n",
        "pgbouncer_pools_server_active_connections{database=\"app\",user=\"owner\"} 2\n",
        "pgbouncer_pools_client_maxwait_seconds{database=\"app\",user=\"owner\"} 1.500042\n",
        "pgbouncer_databases_pool_size{name=\"app\",host=\"10.0.0.1,10.0.0.2\",port=\"5432\",database=\"app_v2\","
        "force_user=\"owner\",pool_mode=\"transaction\"} 5\n",
        "pgbouncer_databases 4\n",
        "pgbouncer_pools 3\n",
        "pgbouncer_used_clients 5\n",
        "pgbouncer_login_clients 1\n",
        "pgbouncer_in_flight_dns_queries 0\n",
        "pgbouncer_server_connections{user=\"owner\",database=\"app\",state=\"active\",addr=\"10.0.0.1_5432\","
        "close_needed=\"true\"} 1\n",
        "pgvigil_pool_workers 2\n",
        "pgvigil_pool_worker_clients{worker=\"1\"} 2\n",
        "pgvigil_pool_io_backend_info{backend=\"epoll\"} 1\n",
        "pgvigil_pool_moved_connections_total 6\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
}

TEST(Metrics, NameEveryFamilyOnce) {
  std::istringstream lines(metrics_text(small_snapshot()));
  std::set<std::string> families;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("# TYPE ", 0) == 0) {
      EXPECT_TRUE(families.insert(line).second) << line;
    }
  }
  EXPECT_GT(families.size(), 50U);
}

}  // namespace
}  // namespace pgvigil::pool
