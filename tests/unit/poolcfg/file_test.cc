// The grammar of the file: lines, sections, %include.
#include "helpers.h"

namespace pgvigil::poolcfg {
namespace {

TEST(IniFile, CommentsAreWholeLinesOnly) {
  const auto config = good("# a\n  ; b\n\n[pgbouncer]\r\nserver_reset_query = SELECT 1; -- # not a comment \r\n");
  EXPECT_EQ(config.settings.server_reset_query, "SELECT 1; -- # not a comment");
}

TEST(IniFile, AByteOrderMarkDoesNoHarm) { good("\xEF\xBB\xBF[pgbouncer]\n"); }

TEST(IniFile, TheLastLineNeedsNoEnd) { EXPECT_EQ(good("[pgbouncer]\nlisten_port=7").settings.listen_port, 7); }

TEST(IniFile, KeysWithOtherCharactersStandInSingleQuotes) {
  const auto config = good("[pgbouncer]\n[databases]\n'my db' = host=x\na.b-c_d = host=y\n");
  EXPECT_EQ(config.databases.at("my db").host_text, "x");
  EXPECT_EQ(config.databases.at("a.b-c_d").dbname, "a.b-c_d");
  EXPECT_THAT(refusal("[databases]\n\"my db\" = host=x\n"), AllOf(HasSubstr("p.ini:2"), HasSubstr("single quotes")));
  EXPECT_THAT(refusal("[databases]\n'my db = host=x\n"), AllOf(HasSubstr("p.ini:2"), HasSubstr("does not end")));
}

TEST(IniFile, WhatIsNoLineOfAnyKindIsRefusedWithoutShowingIt) {
  EXPECT_THAT(refusal("[pgbouncer]\nlisten_port 6432\n"),
              AllOf(HasSubstr("p.ini:2: syntax error: there is no = after \"listen_port\""), HasSubstr("key = value")));
  EXPECT_THAT(refusal("[databases]\na = host=x\n  (password=hidden)\n"),
              AllOf(HasSubstr("p.ini:3"), Not(HasSubstr("hidden"))));
  EXPECT_THAT(refusal("= x\n[pgbouncer]\n"), HasSubstr("p.ini:1"));
}

TEST(IniFile, Sections) {
  EXPECT_THAT(refusal("[pgbouncer]\n[database]\n"),
              AllOf(HasSubstr("p.ini:2: [database]"), HasSubstr("did you mean \"databases\"?"),
                    HasSubstr("valid: pgbouncer, databases, users, peers, cluster")));
  EXPECT_THAT(refusal("[PgBouncer]\n"), HasSubstr("did you mean \"pgbouncer\"?"));
  EXPECT_THAT(refusal("[ databases ]\n"), HasSubstr("is not a known section"));
  EXPECT_THAT(refusal("[databases\n"), AllOf(HasSubstr("p.ini:1"), HasSubstr("no ]")));
  EXPECT_THAT(refusal("[databases] ; mine\n"), AllOf(HasSubstr("p.ini:1"), HasSubstr("follows the ]")));
  EXPECT_THAT(refusal("a = b\n[pgbouncer]\n"), AllOf(HasSubstr("p.ini:1: a"), HasSubstr("before the first section")));
  EXPECT_THAT(refusal("[databases]\n"), AllOf(HasSubstr("no section [pgbouncer] in p.ini"), HasSubstr("add the line")));
  EXPECT_THAT(refusal(""), HasSubstr("no section [pgbouncer]"));
}

TEST(IniFile, ASecondHeaderForgetsWhatHasADefaultAndSaysSo) {
  const auto config = good("[pgbouncer]\nlisten_port=1\nauth_file=a\n[databases]\n[pgbouncer]\nmax_client_conn=5\n");
  EXPECT_EQ(config.settings.listen_port, 6432);
  EXPECT_EQ(config.settings.auth_file, "a");
  EXPECT_EQ(config.settings.max_client_conn, 5);
  EXPECT_THAT(config.warnings, ElementsAre(AllOf(HasSubstr("p.ini:5"), HasSubstr("puts listen_port back"))));
  EXPECT_EQ(config.written, (std::set<std::string, std::less<>>{"auth_file", "max_client_conn"}));
  EXPECT_THAT(good("[pgbouncer]\n[pgbouncer]\n").warnings, IsEmpty());
}

TEST(Include, CarriesTheSectionInAndOut) {
  Directory directory;
  directory.write("inner.ini", "listen_port = 7000\n[databases]\na = host=x\n");
  const auto path = directory.write("p.ini", "[pgbouncer]\n%include " + directory / "inner.ini" + "\nb = host=y\n");
  const auto config = load_config(path);
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->settings.listen_port, 7000);
  EXPECT_EQ(config->databases.size(), 2U);
  EXPECT_EQ(config->settings.conffile, path);
}

TEST(Include, ErrorsNameTheFileThatIsIncluded) {
  Directory directory;
  const auto inner = directory.write("inner.ini", "\nlisten_port = x\n");
  EXPECT_THAT(refusal("[pgbouncer]\n%include " + inner + "\n"), HasSubstr("inner.ini:2: listen_port = \"x\""));
  EXPECT_THAT(refusal("[pgbouncer]\n%include /nowhere/x.ini\n"),
              AllOf(HasSubstr("p.ini:2: %include = \"/nowhere/x.ini\""), HasSubstr("No such file")));
  EXPECT_THAT(refusal("%include nowhere.ini\n"), HasSubstr("working directory"));
  EXPECT_THAT(refusal("%include\n"), HasSubstr("valid: %include FILE"));
  EXPECT_THAT(refusal("%includes x\n"), HasSubstr("valid: %include FILE"));
  EXPECT_THAT(refusal("%include /\n"), HasSubstr("is a directory"));
}

TEST(Include, ACircleIsNamed) {
  Directory directory;
  const auto a = directory.write("a.ini", "%include " + directory / "b.ini" + "\n");
  directory.write("b.ini", "%include " + directory / "a.ini" + "\n");
  const auto config = load_config(a);
  ASSERT_FALSE(config);
  EXPECT_THAT(config.error().message(), AllOf(HasSubstr("b.ini:1"), HasSubstr("includes itself")));
}

TEST(Include, TenDeepIsTheBound) {
  for (const int depth : {10, 11}) {
    Directory directory;
    for (int i = 1; i < depth; ++i) {
      directory.write(std::to_string(i), "%include " + directory / std::to_string(i + 1) + "\n");
    }
    directory.write(std::to_string(depth), "[pgbouncer]\n");
    const auto config = load_config(directory.write("0", "%include " + directory / "1" + "\n"));
    EXPECT_EQ(config.has_value(), depth == 10);
    if (!config) {
      EXPECT_THAT(config.error().message(), HasSubstr("nested more than 10 deep"));
    }
  }
}

TEST(IniFile, CutAtEveryByteItIsAnsweredInOneLine) {
  const std::string text =
      "[databases]\n'a b' = host=x,y password='p''q' port=5\n* = pool_mode=session\n[users]\nu = query_timeout=1.5\n"
      "[peers]\n1 = host=/a\n[pgbouncer]\nlisten_port = 0x10\nadmin_users = a, b\n%include /nowhere/x\n";
  for (std::size_t size = 0; size <= text.size(); ++size) {
    const auto config = parse_config(text.substr(0, size), "p.ini");
    if (config) continue;
    EXPECT_EQ(config.error().message().find('\n'), std::string::npos);
    EXPECT_THAT(config.error().message(), HasSubstr("p.ini"));
  }
}

TEST(LoadConfig, WhatCannotBeRead) {
  EXPECT_THAT(load_config("/nowhere/p.ini").error().message(),
              AllOf(HasSubstr("/nowhere/p.ini"), HasSubstr("No such file")));
  Directory directory;
  std::string zero = "[pgbouncer]\n";
  zero += '\0';
  EXPECT_THAT(load_config(directory.write("z", zero)).error().message(), HasSubstr("zero byte at offset 12"));
}

TEST(LoadConfig, FilesThatPgBouncerShips) {
  for (const char* path : {"/etc/pgbouncer/pgbouncer.ini", "/usr/share/doc/pgbouncer/examples/pgbouncer.ini",
                           "/usr/share/doc/pgbouncer/pgbouncer-minimal.ini"}) {
    if (!std::ifstream(path)) continue;
    const auto config = load_config(path);
    ASSERT_TRUE(config) << config.error().message();
    EXPECT_THAT(config->warnings, IsEmpty());
  }
}

TEST(LoadConfig, TheExampleInDeploy) {
  const auto config = load_config(std::string(PGVIGIL_SOURCE_DIR) + "/deploy/pgbouncer.ini");
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_THAT(config->warnings, IsEmpty());
  EXPECT_EQ(config->settings.pool_mode, PoolMode::Transaction);
  EXPECT_EQ(config->settings.max_client_conn, 1000);
  EXPECT_EQ(config->settings.default_pool_size, 25);
  EXPECT_EQ(config->settings.max_db_connections, 100);
  EXPECT_EQ(config->settings.listen_port, 6432);
  EXPECT_TRUE(config->any_database);
}

}  // namespace
}  // namespace pgvigil::poolcfg
