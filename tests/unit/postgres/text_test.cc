// Texts that PostgreSQL reads or writes: connection strings, configuration files, settings, histories.
#include <gtest/gtest.h>

#include "postgres/conf_files.h"
#include "postgres/conninfo.h"
#include "postgres/monitor.h"
#include "postgres/pending_restart.h"
#include "postgres/pg_connection.h"
#include "postgres/spawn.h"

namespace pgvigil::postgres {
namespace {

TEST(Conninfo, EscapesAndHidesThePassword) {
  Conninfo c;
  c.values = {{"host", "/tmp/a b"}, {"user", "it's"}, {"dbname", "x\\y"}};
  c.password = Secret("geheim");
  EXPECT_EQ(to_dsn(c), "dbname=x\\\\y user=it\\'s host=/tmp/a\\ b");
  const auto back = parse_conninfo(to_dsn(c));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->values, c.values);
}

TEST(Conninfo, AnErrorDoesNotQuoteTheText) {
  const auto bad = parse_conninfo("password=geheim host");
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().message().find("geheim"), std::string::npos);
}

TEST(Conninfo, OrderAndDefaultsMakeNoDifference) {
  EXPECT_TRUE(same_primary_conninfo("host=a port=5432 user=r sslmode=prefer", "user=r host=a", 150000));
  EXPECT_TRUE(same_primary_conninfo("host=a user=r dbname=x passfile=/p", "user=r host=a dbname=y", 160000));
  EXPECT_FALSE(same_primary_conninfo("host=a user=r dbname=x", "user=r host=a dbname=y", 170000));
  EXPECT_FALSE(same_primary_conninfo("host=a user=r", "user=r host=b", 150000));
  EXPECT_FALSE(same_primary_conninfo("host=a application_name=x", "host=a application_name=y", 150000));
}

TEST(Pgpass, EscapesAndKnowsSockets) {
  config::Credentials user;
  user.username = "r:x";
  user.password = Secret("a\\b:c");
  EXPECT_EQ(pgpass_lines("h1,h2", "5433", user), "h1:5433:*:r\\:x:a\\\\b\\:c\nh2:5433:*:r\\:x:a\\\\b\\:c\n");
  EXPECT_EQ(pgpass_lines("/run", "5432", user), "/run:5432:*:r\\:x:a\\\\b\\:c\nlocalhost:5432:*:r\\:x:a\\\\b\\:c\n");
  user.password = Secret();
  EXPECT_EQ(pgpass_lines("h", "5432", user), "");
}

TEST(PostgresqlConf, QuotesValues) {
  ServerSettings settings;
  settings.parameters = {{"a", "it's"}, {"b", "C:\\x"}};
  settings.recovery = {{"primary_conninfo", "host=x"}};
  const auto text = render_postgresql_conf(settings, "postgresql.base.conf", "/data");
  EXPECT_NE(text.find("a = 'it''s'\nb = 'C:\\\\x'\n"), std::string::npos) << text;
  EXPECT_NE(text.find("hba_file = '/data/pg_hba.conf'\n"), std::string::npos);
  EXPECT_NE(text.find("# recovery.conf\nprimary_conninfo = 'host=x'\n"), std::string::npos);
}

TEST(AutoConf, LosesItsRecoverySettingsAndNothingElse) {
  EXPECT_EQ(
      strip_recovery_settings("# x\nwork_mem = '1MB'\nprimary_conninfo = 'a'\n restore_command='b'\nfsync = on\n"),
      "# x\nwork_mem = '1MB'\nfsync = on\n");
}

TEST(Settings, AreShownInTheLargestUnitThatFits) {
  EXPECT_EQ(readable_value("16384", "integer", "8kB"), "128MB");
  EXPECT_EQ(readable_value("300", "integer", "s"), "5min");
  EXPECT_EQ(readable_value("100", "integer", ""), "100");
  EXPECT_EQ(readable_value("-1", "integer", "ms"), "-1");
  EXPECT_EQ(readable_value("true", "bool", ""), "on");
  EXPECT_EQ(readable_value("replica", "enum", ""), "replica");
}

TEST(HbaHint, NamesTheMissingLine) {
  EXPECT_EQ(hba_hint("FATAL:  no pg_hba.conf entry for replication connection from host \"10.0.0.3\", user \"rep\", no "
                     "encryption"),
            "add this line to postgresql.pg_hba of the server: host replication rep 10.0.0.3/32 scram-sha-256");
  EXPECT_EQ(hba_hint("FATAL:  no pg_hba.conf entry for host \"::1\", user \"app\", database \"db\", SSL encryption"),
            "add this line to postgresql.pg_hba of the server: hostssl db app ::1/128 scram-sha-256");
  EXPECT_EQ(hba_hint("FATAL:  password authentication failed"), "");
}

TEST(TimelineHistory, IsReadOrRefused) {
  const auto history = parse_timeline_history("1\t0/3000060\tno recovery target specified\n\n# c\n2\t0/5000000\tx y\n");
  ASSERT_TRUE(history);
  ASSERT_EQ(history->size(), 2U);
  EXPECT_EQ((*history)[0].switch_point, Lsn(0x3000060));
  EXPECT_EQ((*history)[1].reason, "x y");
  EXPECT_FALSE(parse_timeline_history("one 0/1 x"));
}

TEST(Command, IsSplitAsAShellDoes) {
  EXPECT_EQ(*split_command("a 'b c' \"d \\\" e\" f\\ g"), (std::vector<std::string>{"a", "b c", "d \" e", "f g"}));
  EXPECT_FALSE(split_command("a 'b"));
  EXPECT_FALSE(split_command("  "));
}

}  // namespace
}  // namespace pgvigil::postgres
