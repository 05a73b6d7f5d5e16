#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "config/check.h"
#include "config/dynamic.h"
#include "config/sample.h"

namespace pgvigil::config {
namespace {

class ConfigTest : public testing::Test {
 protected:
  ConfigTest() {
    std::string path = "/tmp/pgvigil-config-test-XXXXXX";
    directory = mkdtemp(path.data());
  }
  ~ConfigTest() override { std::filesystem::remove_all(directory); }
  std::string write(const std::string& text, const std::string& name = "patroni.yml") {
    const std::string path = directory + "/" + name;
    std::ofstream(path) << text;
    std::filesystem::permissions(path, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    return path;
  }
  const std::string minimal =
      "scope: demo\nname: n1\nrestapi: {listen: 127.0.0.1:8008}\netcd3: {hosts: [127.0.0.1:2379]}\n"
      "postgresql:\n  listen: 127.0.0.1:5432\n  data_dir: /tmp/data\n  authentication:\n"
      "    superuser: {username: postgres, password: geheim}\n    replication: {username: rep, password: geheim}\n";
  std::string directory;
};

std::string all(const Problems& problems) {
  std::string text;
  for (const auto& problem : problems) text += problem.message() + "\n";
  return text;
}

TEST_F(ConfigTest, LoadsWhatIsWritten) {
  const auto loaded = load_agent_config(write(minimal), {});
  ASSERT_TRUE(loaded) << loaded.error().message();
  EXPECT_EQ(loaded->config.name, MemberName("n1"));
  EXPECT_EQ(loaded->config.etcd.hosts, (std::vector<HostPort>{{"127.0.0.1", 2379}}));
  EXPECT_EQ(loaded->config.postgresql.superuser.password.reveal(), "geheim");
}

TEST_F(ConfigTest, TheEnvironmentWins) {
  const auto loaded =
      load_agent_config(write(minimal), {{"PATRONI_NAME", "env"}, {"PATRONI_SUPERUSER_PASSWORD", "other"}});
  ASSERT_TRUE(loaded) << loaded.error().message();
  EXPECT_EQ(loaded->config.name, MemberName("env"));
  EXPECT_EQ(loaded->config.postgresql.superuser.password.reveal(), "other");
}

TEST_F(ConfigTest, PasswordsComeFromFiles) {
  const std::string secret = write("from-file\n", "secret");
  std::string text = minimal;
  text.replace(text.find("password: geheim"), 16, "password_file: " + secret);
  const auto loaded = load_agent_config(write(text), {});
  ASSERT_TRUE(loaded) << loaded.error().message();
  EXPECT_EQ(loaded->config.postgresql.superuser.password.reveal(), "from-file");
}

TEST_F(ConfigTest, AMissingFileIsNamed) {
  const auto loaded = load_agent_config("/no/such/file.yml", {});
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, Errc::NotFound);
  EXPECT_NE(loaded.error().message().find("/no/such/file.yml"), std::string::npos);
}

TEST_F(ConfigTest, AWrongValueIsNamedWithItsLine) {
  std::string text = minimal;
  text.replace(text.find("127.0.0.1:8008"), 14, "nowhere");
  const std::string path = write(text);
  const auto problems = check_config(path, {});
  EXPECT_TRUE(has_errors(problems));
  EXPECT_NE(all(problems).find(path + ":3: restapi.listen: \"nowhere\""), std::string::npos) << all(problems);
}

TEST_F(ConfigTest, AnUnknownKeyIsAWarningWithTheNearestMatch) {
  const auto problems = check_config(write(minimal + "restapy: {}\n"), {});
  EXPECT_FALSE(has_errors(problems)) << all(problems);
  EXPECT_NE(all(problems).find("restapi"), std::string::npos) << all(problems);
}

TEST_F(ConfigTest, TheWrongEtcdSectionIsExplained) {
  std::string text = minimal;
  text.replace(text.find("etcd3:"), 6, "etcd:");
  EXPECT_NE(all(check_config(write(text), {})).find("etcd3"), std::string::npos);
}

TEST_F(ConfigTest, SecretsAreNotShown) {
  std::string text = minimal;
  text.replace(text.find("password: geheim"), 16, "password: [geheim]");
  EXPECT_EQ(all(check_config(write(text), {})).find("geheim"), std::string::npos);
}

TEST_F(ConfigTest, HostileYamlIsRefused) {
  for (const std::string& text :
       {std::string(100000, '['), std::string("a: &a [*a, *a]"), std::string("\xff\xfe\x00", 3),
        std::string("a: 1\na: 2\n"), std::string("\t- x"), std::string("{")}) {
    EXPECT_FALSE(load_agent_config(write(text), {})) << text.substr(0, 20);
  }
}

// Complete once the files that they name exist.
TEST_F(ConfigTest, TheSamplesLoadWithoutAWarning) {
  std::filesystem::create_directory(directory + "/tls");
  for (const char* name :
       {"superuser-password", "replication-password", "restapi_password", "postgres_superuser_password",
        "postgres_replication_password", "tls/ca.crt", "tls/postgresql.crt", "tls/postgresql.key"}) {
    write("secret\n", name);
  }
  std::ifstream deployed(std::string(PGVIGIL_SOURCE_DIR) + "/deploy/patroni.yml");
  const std::string installed(std::istreambuf_iterator<char>(deployed), {});
  ASSERT_FALSE(installed.empty());
  for (std::string text : {sample_config(), installed}) {
    for (const std::string place : {"/etc/pgvigil/", "/run/secrets/"}) {
      for (auto at = text.find(place); at != std::string::npos; at = text.find(place)) {
        text.replace(at, place.size(), directory + "/");
      }
    }
    EXPECT_EQ(all(check_config(write(text), {})), "");
  }
}

TEST(Dynamic, BoundsAndRule) {
  const auto settings =
      parse_cluster_settings(R"({"ttl": 5, "loop_wait": 1, "retry_timeout": 2, "synchronous_mode": "quorum"})");
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->ttl, std::chrono::seconds(5));
  EXPECT_EQ(settings->synchronous_mode, SyncMode::Quorum);
  EXPECT_FALSE(parse_cluster_settings("[]"));
  EXPECT_FALSE(parse_cluster_settings("nonsense"));
  const auto odd = parse_cluster_settings(R"({"ttl": "soon", "handover_timeout": 3})");
  ASSERT_TRUE(odd);
  EXPECT_EQ(odd->ttl, std::chrono::seconds(30));
  EXPECT_EQ(odd->handover_timeout, std::chrono::seconds(3));
  EXPECT_EQ(odd->switchover_drain_timeout, std::chrono::seconds(5));
  EXPECT_EQ(parse_cluster_settings(R"({"switchover_drain_timeout": 0})")->switchover_drain_timeout, Duration(0));
  const auto tight = parse_cluster_settings(R"({"ttl": 20, "loop_wait": 15, "retry_timeout": 10})");
  ASSERT_TRUE(tight);
  EXPECT_LE(tight->loop_wait + 2 * tight->retry_timeout, tight->ttl);
}

TEST(Dynamic, APatchMergesAndDeletes) {
  const auto patched = merge_patch(R"({"ttl":30,"a":{"b":1,"c":2}})", R"({"a":{"b":null,"d":3},"ttl":"30"})");
  ASSERT_TRUE(patched);
  EXPECT_EQ(patched->json, R"({"ttl":30,"a":{"c":2,"d":3}})");
  const auto same = merge_patch(R"({"ttl":30})", R"({"ttl":"30"})");
  ASSERT_TRUE(same);
  EXPECT_FALSE(same->changed);
  EXPECT_FALSE(merge_patch("{}", "[]"));
}

TEST(Dynamic, PatronisFloorsAreAWarning) {
  const auto problems = check_dynamic(R"({"ttl": 5, "loop_wait": 1, "retry_timeout": 2})");
  EXPECT_FALSE(has_errors(problems)) << all(problems);
  EXPECT_NE(all(problems).find("20"), std::string::npos) << all(problems);
  EXPECT_TRUE(has_errors(check_dynamic(R"({"ttl": "soon"})")));
  EXPECT_TRUE(has_errors(check_dynamic(R"({"switchover_drain_timeout": "soon"})")));
}

}  // namespace
}  // namespace pgvigil::config
