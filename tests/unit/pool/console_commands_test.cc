// What commands do, what they answer, and who may give them.
#include "pool/console_commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fake_control.h"

namespace pgvigil::pool {
namespace {

class ConsoleCommandsTest : public ::testing::Test {
 protected:
  // "C:tag", "E:sqlstate text", "-": no answer yet.
  std::string run(const std::string& text, bool admin = true) {
    control.called.clear();
    answer = "-";
    ConsoleCaller caller;
    caller.admin = admin;
    caller.kill_own = [](std::uint64_t id) { return id == 9; };
    run_console_command(control, caller, parse_console_command(text), text, [this](ConsoleReply reply) {
      answer = reply.error ? "E:" + reply.error->sqlstate + " " + reply.error->message : "C:" + reply.tag;
      last = std::move(reply);
    });
    return answer;
  }
  void quiet() {
    PoolLog::Target target;
    target.standard_error = false;
    ASSERT_TRUE(log.configure(target));
  }
  void SetUp() override { quiet(); }

  PoolLog log;
  Pooler pooler{one_database(), 0, log};
  FakeControl control{pooler};
  std::string answer;
  ConsoleReply last;
};

TEST_F(ConsoleCommandsTest, AnswerWithTheirOwnNameAsTag) {
  EXPECT_EQ(run("reload"), "C:RELOAD");
  EXPECT_EQ(run("Resume;"), "C:RESUME");
  EXPECT_EQ(control.called, "resume all");
  EXPECT_EQ(run("resume app"), "C:RESUME");
  EXPECT_EQ(control.called, "resume app");
  EXPECT_EQ(run("reconnect app"), "C:RECONNECT");
  EXPECT_EQ(run("kill"), "C:KILL");
  EXPECT_EQ(run("wait_close app"), "C:WAIT_CLOSE");
  EXPECT_EQ(run("disable app"), "C:DISABLE");
  EXPECT_EQ(control.called, "disable app");
  EXPECT_EQ(run("enable app"), "C:ENABLE");
  EXPECT_EQ(run("set verbose = 1"), "C:SET verbose=1");
  EXPECT_EQ(control.called, "set verbose 1");
}

TEST_F(ConsoleCommandsTest, AnswerWhenWhatTheyWaitForIsDone) {
  EXPECT_EQ(run("pause app"), "-");
  control.waiting({});
  EXPECT_EQ(answer, "C:PAUSE");
  EXPECT_EQ(run("suspend"), "-");
  control.waiting(fail(Errc::Cancelled, "undone"));
  EXPECT_EQ(answer, "E:08P01 undone");
  control.failure = "already suspended/paused";
  EXPECT_EQ(run("pause"), "E:08P01 already suspended/paused");
}

TEST_F(ConsoleCommandsTest, FailWithTheTextsThatScriptsKnow) {
  EXPECT_EQ(run("pause pgbouncer"), "E:08P01 cannot pause admin db: pgbouncer");
  EXPECT_EQ(run("kill pgbouncer"), "E:08P01 cannot kill admin db: pgbouncer");
  EXPECT_EQ(run("reconnect pgbouncer"), "E:08P01 cannot reconnect admin db: pgbouncer");
  EXPECT_EQ(run("disable pgbouncer"), "E:08P01 cannot disable admin db: pgbouncer");
  EXPECT_EQ(run("enable pgbouncer"), "E:08P01 cannot enable admin db: pgbouncer");
  EXPECT_EQ(run("wait_close pgbouncer"), "E:08P01 cannot wait in admin db: pgbouncer");
  EXPECT_EQ(run("disable"), "E:08P01 a database is required");
  EXPECT_EQ(run("kill_client"), "E:08P01 invalid client pointer supplied");
  EXPECT_EQ(run("kill_client 5x"), "E:08P01 invalid client pointer supplied");
  EXPECT_EQ(run("kill_client 4"), "E:08P01 client not found");
  EXPECT_EQ(run("show nothing"), "E:08P01 invalid command 'show nothing', use SHOW HELP;");
  EXPECT_EQ(run("reload app"), "E:08P01 invalid command 'reload app', use SHOW HELP;");
  EXPECT_EQ(run("shutdown never"), "E:08P01 invalid command 'shutdown never', use SHOW HELP;");
  EXPECT_EQ(run(""), "E:08P01 invalid command '', use SHOW HELP;");
  EXPECT_EQ(run("averyverylongcommand"), "E:08P01 bad arguments");
  control.failure = "whatever the reason";
  EXPECT_EQ(run("reload"), "E:F0000 RELOAD failed, see logs for additional details");
  EXPECT_EQ(run("set x=y"), "E:08P01 SET failed");
}

TEST_F(ConsoleCommandsTest, MakeDatabasesOfTheFallbackEntryExceptResumeAndEnable) {
  EXPECT_EQ(run("resume new"), "E:08P01 no such database: new");
  EXPECT_EQ(run("enable new"), "E:08P01 no such database: new");
  EXPECT_EQ(run("kill new"), "C:KILL");
  EXPECT_EQ(control.called, "kill new");
  EXPECT_EQ(run("resume new"), "C:RESUME");
}

TEST_F(ConsoleCommandsTest, KillClientsAndSessionsOfTheConsole) {
  EXPECT_EQ(run("kill_client 5"), "C:KILL_CLIENT");
  EXPECT_EQ(control.called, "kill_client 5");
  EXPECT_EQ(run("kill_client 9"), "C:KILL_CLIENT");
  EXPECT_EQ(control.called, "");
}

TEST_F(ConsoleCommandsTest, AreForAdministratorsExceptShow) {
  for (const char* text : {"reload", "pause", "resume", "suspend", "kill", "kill_client 5", "disable app", "enable app",
                           "reconnect", "wait_close", "shutdown", "set verbose=1", "show fds"}) {
    EXPECT_EQ(run(text, false), "E:08P01 admin access needed") << text;
    EXPECT_EQ(control.called, "") << text;
  }
  EXPECT_EQ(run("show version", false), "C:SHOW");
  EXPECT_EQ(run("set datestyle = ISO", false), "C:SET");
  ASSERT_EQ(last.notices.size(), 1U);
  EXPECT_EQ(last.notices[0].message, "SET ignored");
}

TEST_F(ConsoleCommandsTest, ShutDownAfterTheAnswerOrWithoutOne) {
  EXPECT_EQ(run("shutdown wait_for_servers"), "C:SHUTDOWN");
  EXPECT_EQ(control.called, "");
  last.after();
  EXPECT_EQ(control.called, "shutdown 1");
  run("shutdown");
  EXPECT_TRUE(last.silent);
  last.after();
  EXPECT_EQ(control.called, "shutdown_now");
}

TEST_F(ConsoleCommandsTest, ShowTablesAndWhatDriversAskFor) {
  EXPECT_EQ(run("select databases"), "C:SHOW");
  ASSERT_EQ(last.rows.size(), 2U);
  EXPECT_EQ(last.rows[0][0], "app");
  EXPECT_EQ(run("show CLIENT_ENCODING"), "C:SHOW");
  ASSERT_EQ(last.rows.size(), 1U);
  EXPECT_EQ(last.rows[0][0], "UTF-8");
  EXPECT_EQ((*last.columns)[0].name, "client_encoding");
  EXPECT_EQ(run("show help"), "C:SHOW");
  EXPECT_EQ(last.columns, nullptr);
  EXPECT_EQ(last.notices.at(0).message, "Console usage");
}

TEST_F(ConsoleCommandsTest, TellTheirColumnsBeforeTheyRun) {
  const auto columns = [](const char* text) { return result_columns(parse_console_command(text)); };
  ASSERT_NE(columns("show pools"), nullptr);
  EXPECT_EQ(columns("show pools")->size(), 17U);
  EXPECT_NE(columns("select timezone"), nullptr);
  for (const char* text : {"show help", "show", "reload", "set a=b", "nonsense ?"}) EXPECT_EQ(columns(text), nullptr);
}

}  // namespace
}  // namespace pgvigil::pool
