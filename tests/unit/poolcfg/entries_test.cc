// [databases], [users], [peers].
#include "helpers.h"

namespace pgvigil::poolcfg {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(ConnectionString, QuotesAndSpaces) {
  const auto entry = database("host=x dbname='it''s here' password = 'a b=c'  port=5433 user=me");
  EXPECT_EQ(entry.host_text, "x");
  EXPECT_EQ(entry.dbname, "it's here");
  EXPECT_EQ(entry.password->reveal(), "a b=c");
  EXPECT_EQ(entry.port, 5433);
  EXPECT_EQ(entry.user, "me");
  EXPECT_EQ(database("dbname=a\tb").dbname, "a\tb");
}

TEST(ConnectionString, WhatIsRefused) {
  EXPECT_THAT(no_database("host="), AllOf(HasSubstr("p.ini:3: db"), HasSubstr("host has no value")));
  EXPECT_THAT(no_database("password=''"), HasSubstr("password has no value"));
  EXPECT_THAT(no_database("nonsense"), HasSubstr("does not begin with key=value"));
  EXPECT_THAT(no_database("host='x"), HasSubstr("the quote of host does not end"));
  EXPECT_THAT(no_database("host='x'port=5"), HasSubstr("no space follows the quoted value of host"));
  EXPECT_THAT(no_database("hots=x"), AllOf(HasSubstr("p.ini:3: db: hots"), HasSubstr("did you mean \"host\"?"),
                                           HasSubstr("valid: dbname, host, port")));
  EXPECT_THAT(no_database("HOST=x"), HasSubstr("is not a known key"));
}

TEST(ConnectionString, ErrorsShowNoPasswords) {
  EXPECT_THAT(no_database("password=hidden hush"),
              AllOf(HasSubstr("value of password"), Not(HasSubstr("hush")), Not(HasSubstr("hidden"))));
  EXPECT_THAT(no_database("password='hid den"), Not(HasSubstr("hid ")));
  EXPECT_THAT(no_database("pasword=hidden"), AllOf(HasSubstr("did you mean \"password\"?"), Not(HasSubstr("hidden"))));
}

TEST(Databases, Defaults) {
  const auto entry = database("");
  EXPECT_EQ(entry.name, "db");
  EXPECT_EQ(entry.dbname, "db");
  EXPECT_THAT(entry.hosts, IsEmpty());
  EXPECT_EQ(entry.port, 5432);
  EXPECT_FALSE(entry.password || entry.pool_size || entry.min_pool_size || entry.reserve_pool_size ||
               entry.max_db_connections || entry.max_db_client_connections || entry.server_lifetime ||
               entry.query_wait_timeout || entry.pool_mode);
  EXPECT_EQ(entry.load_balance_hosts, LoadBalance::RoundRobin);
}

TEST(Databases, Hosts) {
  EXPECT_THAT(database("host=a,/run,::1").hosts, ElementsAre("a", "/run", "::1"));
  EXPECT_THAT(no_database("host=a,,b"), AllOf(HasSubstr("p.ini:3: db: host"), HasSubstr("without spaces")));
  EXPECT_THAT(no_database("host=a,"), HasSubstr("an empty name"));
}

TEST(Databases, NumbersAreDecimalAndNegativeOnesInherit) {
  EXPECT_EQ(database("pool_size=010").pool_size, 10);
  EXPECT_EQ(database("pool_size=0").pool_size, 0);
  EXPECT_FALSE(database("pool_size=-1").pool_size);
  EXPECT_FALSE(database("pool_size=5 pool_size=-1").pool_size);
  EXPECT_EQ(database("reserve_pool=3").reserve_pool_size, 3);
  EXPECT_EQ(database("reserve_pool_size=4").reserve_pool_size, 4);
  EXPECT_EQ(database("min_pool_size=0").min_pool_size, 0);
  EXPECT_FALSE(database("max_db_connections=0").max_db_connections);
  EXPECT_EQ(database("max_db_connections=9").max_db_connections, 9);
  EXPECT_EQ(database("max_db_client_connections=9").max_db_client_connections, 9);
  for (const char* bad : {"x", "5x", "1.5", "0x5", "99999999999"}) {
    EXPECT_THAT(no_database(std::string("pool_size=") + bad),
                AllOf(HasSubstr("p.ini:3: db: pool_size = \"" + std::string(bad) + "\""), HasSubstr("valid: ")));
  }
  for (const char* bad : {"0", "70000", "-5", "x"}) {
    EXPECT_THAT(no_database(std::string("port=") + bad), AllOf(HasSubstr("port"), HasSubstr("valid: 1 to 65535")));
  }
}

TEST(Databases, Times) {
  EXPECT_EQ(database("server_lifetime=1.5").server_lifetime, milliseconds(1500));
  EXPECT_FALSE(database("server_lifetime=0").server_lifetime);
  EXPECT_FALSE(database("server_lifetime=-1").server_lifetime);
  EXPECT_EQ(database("query_wait_timeout=0").query_wait_timeout, seconds(0));
  EXPECT_EQ(database("query_wait_timeout=7").query_wait_timeout, seconds(7));
  EXPECT_EQ(database("query_wait_timeout=-3").query_wait_timeout, seconds(0));
  EXPECT_THAT(no_database("server_lifetime=1h"), HasSubstr("valid: seconds"));
  EXPECT_THAT(no_database("server_lifetime=-x"), HasSubstr("valid: seconds"));
}

TEST(Databases, Choices) {
  EXPECT_EQ(database("pool_mode=STATEMENT").pool_mode, PoolMode::Statement);
  EXPECT_EQ(database("load_balance_hosts=disable").load_balance_hosts, LoadBalance::Disable);
  EXPECT_THAT(no_database("load_balance_hosts=random"), HasSubstr("valid: round-robin, disable"));
  EXPECT_THAT(no_database("pool_mode=x"), HasSubstr("valid: session, transaction, statement"));
  EXPECT_THAT(no_database("auth_dbname=pgbouncer"), HasSubstr("console"));
}

TEST(Databases, StartupParameters) {
  const auto entry = database("timezone=UTC client_encoding=UTF8 timezone='Europe/Berlin' application_name=p");
  using Pair = std::pair<std::string, std::string>;
  EXPECT_THAT(entry.startup_parameters, ElementsAre(Pair("timezone", "Europe/Berlin"), Pair("client_encoding", "UTF8"),
                                                    Pair("application_name", "p")));
}

TEST(Databases, Names) {
  EXPECT_THAT(refusal("[databases]\npgbouncer = host=x\n"),
              AllOf(HasSubstr("p.ini:2: pgbouncer"), HasSubstr("console")));
  EXPECT_THAT(refusal("[databases]\n" + std::string(64, 'a') + " = host=x\n"), HasSubstr("longer than 63 bytes"));
  good("[pgbouncer]\n[databases]\n" + std::string(63, 'a') + " = host=x\n");
}

TEST(Databases, ALaterLineCounts) {
  const auto config = good("[pgbouncer]\n[databases]\na = host=x pool_size=1\na = host=y\n");
  EXPECT_EQ(config.databases.at("a").host_text, "y");
  EXPECT_FALSE(config.databases.at("a").pool_size);
  EXPECT_THAT(config.warnings, ElementsAre(AllOf(HasSubstr("p.ini:4"), HasSubstr("also at p.ini:3"))));
}

TEST(Databases, Any) {
  const auto config = good("[pgbouncer]\n[databases]\n* = host=x pool_size=3\n");
  ASSERT_TRUE(config.any_database);
  EXPECT_THAT(config.databases, IsEmpty());
  const auto made = database_from_any(*config.any_database, "sales");
  EXPECT_EQ(made.name, "sales");
  EXPECT_EQ(made.dbname, "sales");
  EXPECT_EQ(made.pool_size, 3);
  const auto fixed = good("[pgbouncer]\n[databases]\n* = dbname=one\n");
  EXPECT_EQ(database_from_any(*fixed.any_database, "sales").dbname, "one");
}

TEST(Databases, SameConnection) {
  const auto base = database("host=a dbname=d user=u");
  for (const char* other : {"host=b dbname=d user=u", "host=a dbname=e user=u", "host=a dbname=d user=v",
                            "host=a dbname=d user=u port=1", "host=a dbname=d user=u connect_query='SELECT 1'",
                            "host=a dbname=d user=u auth_dbname=x", "host=a dbname=d user=u auth_query=x",
                            "host=a dbname=d user=u load_balance_hosts=disable", "host=a dbname=d"}) {
    EXPECT_FALSE(base.same_connection(database(other))) << other;
  }
  EXPECT_TRUE(base.same_connection(database("user=u host=a dbname=d password=p timezone=UTC pool_size=4")));
}

TEST(Users, AllKeys) {
  const auto config = good(
      "[pgbouncer]\n[users]\nu = pool_size=1 reserve_pool_size=2 pool_mode=session max_user_connections=3 "
      "max_user_client_connections=4 query_timeout=5 query_wait_timeout=6 idle_transaction_timeout=7 "
      "transaction_timeout=8 client_idle_timeout=9\nv = query_timeout=0 query_wait_timeout=0 max_user_connections=0\n");
  const UserEntry& u = config.users.at("u");
  EXPECT_EQ(u.pool_size, 1);
  EXPECT_EQ(u.reserve_pool_size, 2);
  EXPECT_EQ(u.pool_mode, PoolMode::Session);
  EXPECT_EQ(u.max_user_connections, 3);
  EXPECT_EQ(u.max_user_client_connections, 4);
  EXPECT_EQ(u.query_timeout, seconds(5));
  EXPECT_EQ(u.query_wait_timeout, seconds(6));
  EXPECT_EQ(u.idle_transaction_timeout, seconds(7));
  EXPECT_EQ(u.transaction_timeout, seconds(8));
  EXPECT_EQ(u.client_idle_timeout, seconds(9));
  EXPECT_FALSE(config.users.at("v").query_timeout);
  EXPECT_FALSE(config.users.at("v").max_user_connections);
  EXPECT_EQ(config.users.at("v").query_wait_timeout, seconds(0));
}

TEST(Users, WhatIsRefused) {
  EXPECT_THAT(refusal("[users]\nu = host=x\n"), AllOf(HasSubstr("p.ini:2: u: host"), HasSubstr("valid: pool_size")));
  EXPECT_THAT(refusal("[users]\nu = query_timeout=soon\n"), HasSubstr("p.ini:2: u: query_timeout = \"soon\""));
  EXPECT_THAT(refusal("[users]\n" + std::string(128, 'u') + " = pool_size=1\n"), HasSubstr("longer than 127"));
}

TEST(Peers, AllKeys) {
  const auto config = good("[pgbouncer]\n[peers]\n1 = host=a\n2 = host=/tmp/b port=7000 pool_size=3\n");
  EXPECT_EQ(config.peers.at(1).port, 6432);
  EXPECT_FALSE(config.peers.at(1).pool_size);
  EXPECT_EQ(config.peers.at(2).host, "/tmp/b");
  EXPECT_EQ(config.peers.at(2).port, 7000);
  EXPECT_EQ(config.peers.at(2).pool_size, 3);
}

TEST(Peers, WhatIsRefused) {
  for (const char* id : {"0", "65536", "x", "1x"}) {
    EXPECT_THAT(refusal("[peers]\n" + std::string(id) + " = host=a\n"),
                AllOf(HasSubstr("p.ini:2: " + std::string(id)), HasSubstr("valid: 1 to 65535")));
  }
  EXPECT_THAT(refusal("[peers]\n1 = port=5\n"), AllOf(HasSubstr("p.ini:2: 1"), HasSubstr("no host")));
  EXPECT_THAT(refusal("[peers]\n1 = user=a\n"), HasSubstr("valid: host, port, pool_size"));
}

}  // namespace
}  // namespace pgvigil::poolcfg
