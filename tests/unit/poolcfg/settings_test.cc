// The settings of [pgbouncer]: values, defaults, SET, SHOW CONFIG, reloads, the reference page.
#include <cstdlib>
#include <iterator>

#include "helpers.h"
#include "poolcfg/rows.h"

namespace pgvigil::poolcfg {
namespace {

using std::chrono::microseconds;
using std::chrono::seconds;

std::string shown_value(const Settings& settings, std::string_view key) {
  for (const auto& row : show_config(settings)) {
    if (row.key == key) return row.value;
  }
  return "no such row";
}

TEST(Integers, HaveTheBasesOfC) {
  EXPECT_EQ(with("listen_port = 6543").settings.listen_port, 6543);
  EXPECT_EQ(with("listen_port = 0x1000").settings.listen_port, 4096);
  EXPECT_EQ(with("unix_socket_mode = 0770").settings.unix_socket_mode, 0770);
  EXPECT_EQ(with("unix_socket_mode = 770").settings.unix_socket_mode, 770);
  EXPECT_EQ(with("max_packet_size = 0xffffffff").settings.max_packet_size, 0xffffffffU);
  EXPECT_EQ(with("listen_port = +7").settings.listen_port, 7);
  EXPECT_EQ(with("listen_backlog = 0").settings.listen_backlog, 0);
  for (const char* bad : {"08", "0x", "0xg", "6432 ; port", "12.5", "1e3", "-", "+-1", "0x-1", "--1"}) {
    EXPECT_THAT(without(std::string("listen_port = ") + bad),
                AllOf(HasSubstr("p.ini:2: listen_port = \"" + std::string(bad) + "\""),
                      HasSubstr("is not a whole number"), HasSubstr("valid: 0 to 65535")));
  }
  EXPECT_THAT(without("listen_port ="), AllOf(HasSubstr("has no value"), HasSubstr("0 to 65535")));
  EXPECT_THAT(without("listen_port = 65536"), AllOf(HasSubstr("is out of range"), HasSubstr("0 to 65535")));
  EXPECT_THAT(without("listen_port = -1"), HasSubstr("is out of range"));
  EXPECT_THAT(without("max_client_conn = 99999999999999999999"), HasSubstr("is out of range"));
  EXPECT_THAT(without("max_client_conn = -99999999999999999999"), HasSubstr("is out of range"));
}

TEST(Integers, SwitchesAreNumbers) {
  EXPECT_EQ(with("log_stats = 0").settings.log_stats, 0);
  EXPECT_EQ(with("tcp_defer_accept = 45").settings.tcp_defer_accept, 45);
  for (const char* word : {"on", "true", "Yes", "off"}) {
    EXPECT_THAT(without(std::string("log_stats = ") + word),
                AllOf(HasSubstr("p.ini:2"), HasSubstr("write 1 for on and 0 for off")));
  }
}

TEST(Integers, ALimitBelowZeroIsNoLimit) {
  const auto config = with("max_db_connections = -1");
  EXPECT_EQ(config.settings.max_db_connections, 0);
  EXPECT_THAT(config.warnings, ElementsAre(AllOf(HasSubstr("p.ini:2: max_db_connections"), HasSubstr("taken as 0"))));
}

TEST(Times, AreSecondsWithFractions) {
  EXPECT_EQ(with("query_timeout = 1.5").settings.query_timeout, microseconds(1500000));
  EXPECT_EQ(with("query_timeout = .1").settings.query_timeout, microseconds(100000));
  EXPECT_EQ(with("query_timeout = 0.000001").settings.query_timeout, microseconds(1));
  EXPECT_EQ(with("query_timeout = 1e3").settings.query_timeout, seconds(1000));
  EXPECT_EQ(with("query_timeout = 2147483647").settings.query_timeout, seconds(2147483647));
  for (const char* bad : {"5s", "1 min", "x", "nan", "0x10", "1.5.5", "+-1"}) {
    EXPECT_THAT(without(std::string("query_timeout = ") + bad),
                AllOf(HasSubstr("p.ini:2: query_timeout"), HasSubstr("not a number of seconds"),
                      HasSubstr("valid: seconds without a unit")));
  }
  EXPECT_THAT(without("query_timeout = -1"), HasSubstr("is negative"));
  EXPECT_THAT(without("query_timeout = inf"), HasSubstr("out of range"));
  EXPECT_THAT(without("query_timeout = 1e999"), HasSubstr("out of range"));
  EXPECT_THAT(without("query_timeout = 2147483648"), HasSubstr("out of range"));
  EXPECT_THAT(without("query_timeout ="), HasSubstr("has no value"));
}

TEST(Choices, IgnoreCaseAndNameWhatIsValid) {
  EXPECT_EQ(with("pool_mode = Transaction").settings.pool_mode, PoolMode::Transaction);
  EXPECT_EQ(with("auth_type = SCRAM-sha-256").settings.auth_type, AuthType::ScramSha256);
  EXPECT_EQ(with("server_tls_sslmode = verify-full").settings.server_tls.sslmode, SslMode::VerifyFull);
  EXPECT_EQ(with("io_backend = IO_URING").settings.io_backend, "io_uring");
  EXPECT_THAT(without("pool_mode = transactions"),
              AllOf(HasSubstr("p.ini:2: pool_mode = \"transactions\""), HasSubstr("did you mean \"transaction\"?"),
                    HasSubstr("valid: session, transaction, statement")));
  EXPECT_THAT(without("auth_type = peer"), HasSubstr("valid: any, trust, plain, md5, scram-sha-256, cert, hba, pam"));
  EXPECT_THAT(without("server_tls_sslmode = on"), HasSubstr("valid: disable, allow, prefer, require, verify-ca"));
  EXPECT_THAT(without("io_backend = kqueue"), HasSubstr("valid: auto, io_uring, epoll"));
}

TEST(Lists, AreSeparatedByCommasOrBlanks) {
  EXPECT_THAT(with("admin_users = a, b  c,,d,").settings.admin_users, ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(with("track_extra_parameters =").settings.track_extra_parameters, IsEmpty());
  EXPECT_THAT(with("listen_port = 1").settings.track_extra_parameters, ElementsAre("IntervalStyle"));
}

TEST(UnknownKeys, NameTheNearest) {
  EXPECT_THAT(without("max_client_con = 5"), AllOf(HasSubstr("p.ini:2: max_client_con = \"5\": is not a known setting"),
                                                   HasSubstr("did you mean \"max_client_conn\"?")));
  EXPECT_THAT(without("pool-mode = session"), HasSubstr("did you mean \"pool_mode\"?"));
  EXPECT_THAT(without("zzzzzzzzzzzzz = 5"), HasSubstr("docs/pool-configuration.md"));
}

TEST(OldKeys, AllThatTheManualOf118Describes) {
  for (const char* key : {"logfile",
                          "pidfile",
                          "listen_addr",
                          "listen_port",
                          "unix_socket_dir",
                          "unix_socket_mode",
                          "unix_socket_group",
                          "user",
                          "pool_mode",
                          "max_client_conn",
                          "default_pool_size",
                          "min_pool_size",
                          "reserve_pool_size",
                          "reserve_pool_timeout",
                          "max_db_connections",
                          "max_user_connections",
                          "server_round_robin",
                          "ignore_startup_parameters",
                          "disable_pqexec",
                          "application_name_add_host",
                          "conffile",
                          "service_name",
                          "job_name",
                          "stats_period",
                          "auth_type",
                          "auth_hba_file",
                          "auth_file",
                          "auth_user",
                          "auth_query",
                          "syslog",
                          "syslog_ident",
                          "syslog_facility",
                          "log_connections",
                          "log_disconnections",
                          "log_pooler_errors",
                          "log_stats",
                          "verbose",
                          "admin_users",
                          "stats_users",
                          "server_reset_query",
                          "server_reset_query_always",
                          "server_check_delay",
                          "server_check_query",
                          "server_fast_close",
                          "server_lifetime",
                          "server_idle_timeout",
                          "server_connect_timeout",
                          "server_login_retry",
                          "client_login_timeout",
                          "autodb_idle_timeout",
                          "dns_max_ttl",
                          "dns_nxdomain_ttl",
                          "dns_zone_check_period",
                          "resolv_conf",
                          "client_tls_sslmode",
                          "client_tls_key_file",
                          "client_tls_cert_file",
                          "client_tls_ca_file",
                          "client_tls_protocols",
                          "client_tls_ciphers",
                          "client_tls_ecdhcurve",
                          "client_tls_dheparams",
                          "server_tls_sslmode",
                          "server_tls_ca_file",
                          "server_tls_key_file",
                          "server_tls_cert_file",
                          "server_tls_protocols",
                          "server_tls_ciphers",
                          "query_timeout",
                          "query_wait_timeout",
                          "client_idle_timeout",
                          "idle_transaction_timeout",
                          "suspend_timeout",
                          "pkt_buf",
                          "max_packet_size",
                          "listen_backlog",
                          "sbuf_loopcnt",
                          "so_reuseport",
                          "tcp_defer_accept",
                          "tcp_socket_buffer",
                          "tcp_keepalive",
                          "tcp_keepcnt",
                          "tcp_keepidle",
                          "tcp_keepintvl",
                          "tcp_user_timeout"}) {
    EXPECT_NE(find_row(key), nullptr) << key;
  }
}

TEST(OldKeys, LoadWithAWarning) {
  EXPECT_THAT(with("service_name = pool").warnings,
              ElementsAre(AllOf(HasSubstr("p.ini:2: service_name"), HasSubstr("no effect"))));
  EXPECT_THAT(with("syslog_facility = moon").warnings, ElementsAre(HasSubstr("means daemon")));
}

TEST(Together, ClientTlsNeedsItsFiles) {
  EXPECT_THAT(without("client_tls_sslmode = require"),
              AllOf(HasSubstr("p.ini:2: client_tls_sslmode = \"require\""), HasSubstr("client_tls_key_file")));
  with("client_tls_sslmode = require\nclient_tls_key_file = k\nclient_tls_cert_file = c");
}

TEST(Together, CertificatesNeedVerifyFull) {
  const std::string files = "client_tls_key_file = k\nclient_tls_cert_file = c\nauth_type = cert\n";
  EXPECT_THAT(without(files + "client_tls_sslmode = require"),
              AllOf(HasSubstr("p.ini:4: auth_type = \"cert\""), HasSubstr("client_tls_sslmode = verify-full")));
  EXPECT_THAT(without(files + "client_tls_sslmode = verify-full"), HasSubstr("set client_tls_ca_file"));
  with(files + "client_tls_sslmode = verify-full\nclient_tls_ca_file = ca");
}

TEST(Together, WhatTlsWouldRefuseIsRefusedOnlyInUse) {
  EXPECT_THAT(without("server_tls_protocols = secure, tlsv9"),
              AllOf(HasSubstr("p.ini:2"), HasSubstr("\"tlsv9\" is not a protocol"), HasSubstr("tlsv1.3")));
  EXPECT_THAT(without("server_tls_protocols = legacy"), HasSubstr("is not a protocol"));
  with("server_tls_protocols = all:!tlsv1.0, !TLSv1.1");
  EXPECT_THAT(with("client_tls_dheparams = legacy").warnings, ElementsAre(HasSubstr("valid: auto, none")));
  EXPECT_THAT(without("auth_dbname = pgbouncer"), AllOf(HasSubstr("p.ini:2"), HasSubstr("console")));
  EXPECT_THAT(with("server_tls_key_file = k").warnings, ElementsAre(HasSubstr("server_tls_key_file has no effect")));
}

TEST(Together, RulesThatLetNobodyInAreWarnedOf) {
  EXPECT_THAT(with("auth_type = hba").warnings, ElementsAre(HasSubstr("lets nobody in")));
  EXPECT_THAT(good("[databases]\na = user=u\nb =\n[pgbouncer]\nauth_type = any\n").warnings,
              ElementsAre(AllOf(HasSubstr("p.ini:3"), HasSubstr("database b has no user="))));
}

TEST(Table, DefaultsAreThoseOfTheStructure) {
  for (const Row& row : rows()) {
    if (row.field == nullptr || !row.fallback) continue;
    Settings settings, fresh;
    ASSERT_TRUE(assign(row, settings, *row.fallback)) << row.key;
    EXPECT_EQ(value_text(row, settings), value_text(row, fresh)) << row.key;
  }
}

TEST(Table, EachFieldBelongsToOneRow) {
  Settings settings;
  std::set<const void*> fields;
  for (const Row& row : rows()) {
    if (row.field == nullptr) continue;
    const Field field = row.field(settings);
    const void* address = std::visit([](auto* pointer) -> const void* { return pointer; }, field);
    EXPECT_TRUE(fields.insert(address).second) << row.key;
    EXPECT_FALSE(row.doc.empty()) << row.key;
  }
}

TEST(ShowConfig, PrintsAsPgBouncerDoes) {
  const auto config = with("reserve_pool_timeout=2.5\nquery_timeout=1234567.5\npool_mode=Statement\nadmin_users=a,b");
  const Settings& settings = config.settings;
  EXPECT_EQ(shown_value(settings, "reserve_pool_timeout"), "2.5");
  EXPECT_EQ(shown_value(settings, "query_timeout"), "1.23457e+06");
  EXPECT_EQ(shown_value(settings, "server_lifetime"), "3600");
  EXPECT_EQ(shown_value(settings, "pool_mode"), "statement");
  EXPECT_EQ(shown_value(settings, "unix_socket_mode"), "511");
  EXPECT_EQ(shown_value(settings, "server_check_query"), "<empty>");
  EXPECT_EQ(shown_value(settings, "max_packet_size"), "2147483647");
  EXPECT_EQ(shown_value(settings, "admin_users"), "a, b");
  EXPECT_EQ(shown_value(settings, "workers"), "0");
  EXPECT_EQ(shown_value(settings, "io_backend"), "auto");
}

TEST(ShowConfig, OrderDefaultsAndWhatCanChange) {
  const auto all = show_config(Settings{});
  std::map<std::string, SettingRow> by_key;
  std::string before;
  for (const auto& row : all) {
    if (row.key == "pool_idle_timeout") {
      EXPECT_EQ(before, "pool_mode");
    } else if (row.key != "pool_mode" && before != "pool_mode") {
      EXPECT_LT(before, row.key);
    }
    before = row.key;
    by_key.emplace(row.key, row);
  }
  EXPECT_EQ(all.front().key, "admin_users");
  EXPECT_EQ(by_key.at("unix_socket_mode").fallback, "0777");
  EXPECT_EQ(by_key.at("auth_query").fallback, kDefaultAuthQuery);
  EXPECT_EQ(by_key.at("logfile").fallback, "");
  for (const char* key : {"auth_file", "auth_user", "auth_dbname", "auth_ident_file", "auth_ldap_options", "conffile",
                          "user", "verbose", "client_tls13_ciphers", "server_tls13_ciphers"}) {
    EXPECT_FALSE(by_key.at(key).fallback) << key;
  }
  for (const char* key : {"listen_addr", "listen_port", "pkt_buf", "unix_socket_dir", "so_reuseport", "workers",
                          "disable_pqexec", "job_name", "resolv_conf", "track_extra_parameters", "pidfile", "user"}) {
    EXPECT_FALSE(by_key.at(key).changeable) << key;
  }
  EXPECT_TRUE(by_key.at("pool_mode").changeable);
  EXPECT_EQ(by_key.count("service_name"), 0U);
}

TEST(ShowConfig, HidesThePasswordForLdap) {
  EXPECT_EQ(shown_value(with("auth_ldap_options = ldapserver=s ldapbindpasswd=hidden ldapport=1").settings,
                        "auth_ldap_options"),
            "ldapserver=s ldapbindpasswd=*** ldapport=1");
  EXPECT_THAT(shown_value(with("auth_ldap_options = ldapbindpasswd=\"hid den\"").settings, "auth_ldap_options"),
              Not(HasSubstr("den")));
}

TEST(Set, ChangesWhatAReloadMayChange) {
  Settings settings;
  EXPECT_TRUE(set_setting(settings, "max_client_conn", "0x10"));
  EXPECT_EQ(settings.max_client_conn, 16);
  EXPECT_TRUE(set_setting(settings, "listen_port", "1"));
  EXPECT_EQ(settings.listen_port, 6432);
  EXPECT_THAT(set_setting(settings, "max_client_conn", "many").error().message(),
              AllOf(HasSubstr("SET: max_client_conn = \"many\""), HasSubstr("valid: 0 to")));
  EXPECT_THAT(set_setting(settings, "max_clients", "1").error().message(), HasSubstr("is not a known setting"));
  EXPECT_THAT(set_setting(settings, "listen_port", "x").error().message(), HasSubstr("not a whole number"));
  EXPECT_THAT(set_setting(settings, "client_tls_protocols", "ssl3").error().message(), HasSubstr("valid: a list of"));
  EXPECT_EQ(settings.max_client_conn, 16);
  EXPECT_EQ(settings.client_tls.protocols, "secure");
}

TEST(Reload, KeepsWhatIsReadAtTheStartAndWhatHasNoDefault) {
  const auto first = with("listen_port=1\nauth_user=look\nverbose=2\nmax_client_conn=7\nclient_tls13_ciphers=x");
  const auto second = with("listen_port=2\nverbose=1");
  const Settings after = reloaded(first.settings, second);
  EXPECT_EQ(after.listen_port, 1);
  EXPECT_EQ(after.auth_user, "look");
  EXPECT_EQ(after.verbose, 1);
  EXPECT_EQ(after.max_client_conn, 100);
  EXPECT_EQ(after.client_tls.ciphers13, "x");
  EXPECT_EQ(reloaded(first.settings, with("auth_user=")).auth_user, "");
}

constexpr const char* kBegin = "<!-- settings: made by unit_poolcfg -->\n";
constexpr const char* kEnd = "<!-- settings: end -->\n";

TEST(Reference, IsThePageInDocs) {
  const std::string path = std::string(PGVIGIL_SOURCE_DIR) + "/docs/pool-configuration.md";
  std::ifstream file(path);
  std::string page{std::istreambuf_iterator<char>(file), {}};
  const std::size_t begin = page.find(kBegin), end = page.find(kEnd);
  ASSERT_NE(begin, std::string::npos);
  ASSERT_NE(end, std::string::npos);
  const std::size_t from = begin + std::string(kBegin).size();
  const std::string wanted = settings_reference_markdown();
  if (std::getenv("PGVIGIL_UPDATE_DOCS") != nullptr) {
    std::ofstream(path) << page.substr(0, from) << wanted << page.substr(end);
    return;
  }
  EXPECT_TRUE(page.substr(from, end - from) == wanted)
      << "run: PGVIGIL_UPDATE_DOCS=1 " << PGVIGIL_BIN_DIR << "/unit_poolcfg";
}

}  // namespace
}  // namespace pgvigil::poolcfg
