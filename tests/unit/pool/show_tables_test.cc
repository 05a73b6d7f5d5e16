// SHOW tables: columns in order and type, and their rows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pool/show.h"
#include "snapshot_fixture.h"

namespace pgvigil::pool {
namespace {

using ::testing::ElementsAre;
using ::testing::Optional;

// "name t, value n": as a list of columns is written.
std::string spelled(const ShowTable& table) {
  std::string text;
  for (const auto& column : table.columns) {
    const char type = column.type.oid == pgwire::kText.oid    ? 't'
                      : column.type.oid == pgwire::kInt4.oid  ? 'i'
                      : column.type.oid == pgwire::kInt8.oid  ? 'q'
                      : column.type.oid == pgwire::kBytea.oid ? 'b'
                                                              : 'n';
    text += std::string(text.empty() ? "" : ", ") + std::string(column.name) + ' ' + type;
  }
  return text;
}

std::string row_text(const std::vector<Cell>& row) {
  std::string text;
  for (const auto& value : row) text += (text.empty() ? "" : "|") + value.value_or("NULL");
  return text;
}

Rows rows(const char* name, const Snapshot& snapshot) { return find_show(name)->rows(snapshot); }

TEST(ShowTables, AreFoundByNameWhateverItsCase) {
  EXPECT_NE(find_show("POOLS"), nullptr);
  EXPECT_EQ(find_show("POOLS"), find_show("pools"));
  EXPECT_EQ(find_show("pool"), nullptr);
  EXPECT_EQ(find_show(""), nullptr);
}

TEST(ShowTables, HaveTheirColumnsInOrder) {
  EXPECT_EQ(spelled(*find_show("pools")),
            "database t, user t, cl_active i, cl_waiting i, cl_active_cancel_req i, cl_waiting_cancel_req i, sv_active "
            "i, sv_active_cancel i, sv_being_canceled i, sv_idle i, sv_used i, sv_tested i, sv_login i, maxwait i, "
            "maxwait_us i, pool_mode t, load_balance_hosts t");
  const std::string connection =
      "type t, user t, database t, replication t, state t, addr t, port i, local_addr t, local_port i, connect_time t, "
      "request_time t, wait i, wait_us i, close_needed i, ptr t, link t, remote_pid i, tls t, application_name t, "
      "prepared_statements i, id i";
  EXPECT_EQ(spelled(*find_show("clients")), connection);
  EXPECT_EQ(spelled(*find_show("servers")), connection);
  EXPECT_EQ(spelled(*find_show("sockets")),
            connection + ", recv_pos i, pkt_pos i, pkt_remain i, send_pos i, send_remain i, pkt_avail i, send_avail i");
  EXPECT_EQ(spelled(*find_show("databases")),
            "name t, host t, port i, database t, force_user t, pool_size i, min_pool_size i, reserve_pool_size i, "
            "server_lifetime i, pool_mode t, load_balance_hosts t, max_connections i, current_connections i, "
            "max_client_connections i, current_client_connections i, paused i, disabled i");
  EXPECT_EQ(spelled(*find_show("users")),
            "name t, pool_size t, reserve_pool_size t, pool_mode t, max_user_connections i, current_connections i, "
            "max_user_client_connections i, current_client_connections i");
  EXPECT_EQ(spelled(*find_show("stats")),
            "database t, total_server_assignment_count n, total_xact_count n, total_query_count n, total_received n, "
            "total_sent n, total_xact_time n, total_query_time n, total_wait_time n, total_client_parse_count n, "
            "total_server_parse_count n, total_bind_count n, total_client_login_count n, avg_server_assignment_count "
            "n, avg_xact_count n, avg_query_count n, avg_recv n, avg_sent n, avg_xact_time n, avg_query_time n, "
            "avg_wait_time n, avg_client_parse_count n, avg_server_parse_count n, avg_bind_count n, "
            "avg_client_login_count n");
  const std::string first =
      "database t, server_assignment_count n, xact_count n, query_count n, bytes_received n, bytes_sent n, xact_time "
      "n, query_time n, wait_time n, ";
  EXPECT_EQ(spelled(*find_show("stats_totals")),
            first + "client_parse_count n, server_parse_count n, bind_count n, client_login_count n");
  EXPECT_EQ(spelled(*find_show("stats_averages")),
            first + "avg_client_parse_count n, avg_server_parse_count n, avg_bind_count n, avg_client_login_count n");
  EXPECT_EQ(spelled(*find_show("totals")), "name t, value n");
  EXPECT_EQ(spelled(*find_show("lists")), "list t, items i");
  EXPECT_EQ(spelled(*find_show("config")), "key t, value t, default t, changeable t");
  EXPECT_EQ(spelled(*find_show("mem")), "name t, size i, used i, free i, memtotal i");
  EXPECT_EQ(spelled(*find_show("dns_hosts")), "hostname t, ttl q, addrs t");
  EXPECT_EQ(spelled(*find_show("dns_zones")), "zonename t, serial q, count i");
  EXPECT_EQ(spelled(*find_show("peers")), "peer_id i, host t, port i, pool_size i");
  EXPECT_EQ(spelled(*find_show("peer_pools")),
            "peer_id i, cl_active_cancel_req i, cl_waiting_cancel_req i, sv_active_cancel i, sv_login i");
}

TEST(ShowTables, EveryRowIsAsWideAsItsTable) {
  const auto snapshot = small_snapshot();
  for (const auto* tables :
       {&pool_tables(), &client_tables(), &database_tables(), &stats_tables(), &config_tables(), &misc_tables()}) {
    for (const auto& table : *tables) {
      for (const auto& row : table.rows(snapshot)) EXPECT_EQ(row.size(), table.columns.size()) << table.name;
    }
  }
}

TEST(ShowTables, PoolsHoldTheConsoleInItsPlace) {
  const auto shown = rows("pools", small_snapshot());
  ASSERT_EQ(shown.size(), 3U);
  EXPECT_EQ(row_text(shown[0]), "app|owner|2|1|0|0|2|0|0|0|0|0|0|1|500042|transaction|round-robin");
  EXPECT_EQ(row_text(shown[1]), "pgbouncer|pgbouncer|1|0|0|0|0|0|0|0|0|0|0|0|0|statement|NULL");
  EXPECT_EQ(row_text(shown[2]), "zeta|zeta|0|0|0|0|0|0|0|4|0|0|0|0|0|session|NULL");
}

TEST(ShowTables, ClientsAreThoseThatLoggedIn) {
  setenv("TZ", "UTC", 1);
  tzset();
  const auto shown = rows("clients", small_snapshot());
  ASSERT_EQ(shown.size(), 1U);
  EXPECT_EQ(row_text(shown[0]),
            "C|ann|app|none|active|127.0.0.1|40000||6432|2023-11-14 22:11:40 UTC|2023-11-14 22:13:18 UTC|2|3|0|0x11|"
            "0x13|0||psql|2|17");
}

TEST(ShowTables, ServersNameTheirClientAndProcess) {
  const auto shown = rows("servers", small_snapshot());
  ASSERT_EQ(shown.size(), 1U);
  EXPECT_EQ(row_text(shown[0]), "S|owner|app|none|active|10.0.0.1|5432||0|||0|0|1|0x13|0x11|4711|||0|19");
}

TEST(ShowTables, SocketsIncludeLoginsAndOnlyTheActiveHaveBytesToSend) {
  const auto snapshot = small_snapshot();
  EXPECT_EQ(rows("sockets", snapshot).size(), 3U);
  const auto active = rows("active_sockets", snapshot);
  ASSERT_EQ(active.size(), 1U);
  EXPECT_THAT(active[0][1], Optional(std::string("(nouser)")));
  EXPECT_THAT(active[0][2], Optional(std::string("(nodb)")));
  EXPECT_THAT(active[0][4], Optional(std::string("cl_login")));
  EXPECT_THAT(active[0][5], Optional(std::string("unix")));
  EXPECT_THAT(active[0][16], Optional(std::string("77")));
}

TEST(ShowTables, DatabasesShowWhatHoldsForThem) {
  const auto shown = rows("databases", small_snapshot());
  ASSERT_EQ(shown.size(), 3U) << "an automatic database that nobody uses is hidden";
  EXPECT_EQ(row_text(shown[0]),
            "app|10.0.0.1,10.0.0.2|5432|app_v2|owner|5|0|0|3600|transaction|round-robin|0|2|0|3|0|0");
  EXPECT_EQ(row_text(shown[1]), "pgbouncer|NULL|6432|pgbouncer|pgbouncer|2|0|0|3600|statement|NULL|0|0|0|1|0|0");
  EXPECT_EQ(row_text(shown[2]), "zeta|NULL|5432|zeta|NULL|20|0|0|3600|NULL|NULL|0|0|0|0|1|1");
}

TEST(ShowTables, UsersAreThoseOfAllSources) {
  const auto shown = rows("users", small_snapshot());
  ASSERT_EQ(shown.size(), 2U);
  EXPECT_EQ(row_text(shown[0]), "ann|       12||transaction|3|2|0|3");
  EXPECT_EQ(row_text(shown[1]), "zoe|||NULL|7|0|0|0");
}

TEST(ShowTables, TotalsSumAllDatabases) {
  auto snapshot = small_snapshot();
  snapshot.statistics[0].averages.queries = 10;
  snapshot.statistics[0].averages.query_time = 100;
  snapshot.statistics[1].averages.queries = 30;
  snapshot.statistics[1].averages.query_time = 20;
  const auto shown = rows("totals", snapshot);
  ASSERT_EQ(shown.size(), 24U);
  EXPECT_EQ(row_text(shown[2]), "total_query_count|10");
  EXPECT_EQ(row_text(shown[3]), "total_client_bytes|0");
  EXPECT_EQ(row_text(shown[8]), "total_ps_client_parse_count|0");
  EXPECT_EQ(row_text(shown[14]), "avg_query_count|40");
  EXPECT_EQ(row_text(shown[18]), "avg_query_time|40") << "a busy database weighs more";
}

TEST(ShowTables, ListsHaveTheirRowsInOrder) {
  std::string text;
  for (const auto& row : rows("lists", small_snapshot())) text += row_text(row) + ' ';
  EXPECT_EQ(text,
            "databases|4 users|2 peers|1 pools|3 peer_pools|1 free_clients|0 used_clients|5 login_clients|1 "
            "free_servers|0 used_servers|1 dns_names|0 dns_zones|0 dns_queries|0 dns_pending|0 ");
}

TEST(ShowTables, StateAndVersion) {
  auto snapshot = small_snapshot();
  EXPECT_EQ(row_text(rows("version", snapshot)[0]), "PgBouncer 1.25.2");
  EXPECT_EQ(row_text(rows("state", snapshot)[0]), "active|yes");
  snapshot.paused = true;
  EXPECT_EQ(row_text(rows("state", snapshot)[0]), "active|no");
  EXPECT_EQ(row_text(rows("state", snapshot)[1]), "paused|yes");
  EXPECT_EQ(row_text(rows("state", snapshot)[2]), "suspended|no");
}

}  // namespace
}  // namespace pgvigil::pool
