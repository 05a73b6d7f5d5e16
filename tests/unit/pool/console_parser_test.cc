// The console's grammar, at every edge.
#include "pool/console_parser.h"

#include <gtest/gtest.h>

namespace pgvigil::pool {
namespace {

using Kind = ConsoleCommand::Kind;

TEST(ConsoleParser, TakesOneOrTwoWords) {
  for (const char* text :
       {"show pools", "SHOW POOLS;", "  Show\tpools  ;  ", "\nshow\r\npools\n", "\"show\" \"pools\""}) {
    const auto command = parse_console_command(text);
    EXPECT_EQ(command.kind, Kind::Command) << text;
    EXPECT_EQ(command.name, "show") << text;
    EXPECT_TRUE(command.argument && (*command.argument == "pools" || *command.argument == "POOLS")) << text;
  }
  const auto alone = parse_console_command("RELOAD;");
  EXPECT_EQ(alone.kind, Kind::Command);
  EXPECT_EQ(alone.name, "reload");
  EXPECT_FALSE(alone.argument);
}

TEST(ConsoleParser, KeepsTheCaseOfAnArgumentAndWhatIsQuoted) {
  EXPECT_EQ(parse_console_command("pause MyDb").argument, "MyDb");
  EXPECT_EQ(parse_console_command("pause \"a b;c\"").argument, "a b;c");
  EXPECT_EQ(parse_console_command("pause \"a\"\"b\"").argument, "a\"b");
  EXPECT_EQ(parse_console_command("pause \"\"").argument, "");
}

TEST(ConsoleParser, RefusesWhatIsNotOneCommand) {
  for (const char* text : {"", " ", ";", "show pools; show stats", "show pools;;", "show pools stats", "-- x",
                           "/* x */ show pools", "show pools -- x", "pause a-b", "pause \"a", "pause a\"b\"",
                           "pause\"a\"", "pause 'a'", "select 1+1", "=", "show p\xc3\xb6ols", "show pools\v"}) {
    EXPECT_EQ(parse_console_command(text).kind, Kind::Invalid) << text;
  }
  EXPECT_EQ(parse_console_command(std::string_view("show\0pools", 10)).kind, Kind::Invalid);
}

TEST(ConsoleParser, BoundsTheWords) {
  const std::string name(15, 'a'), longer(16, 'a'), argument(63, 'b'), longer_argument(64, 'b');
  EXPECT_EQ(parse_console_command(name + " " + argument).kind, Kind::Command);
  EXPECT_EQ(parse_console_command(longer).kind, Kind::BadArguments);
  EXPECT_EQ(parse_console_command("pause " + longer_argument).kind, Kind::BadArguments);
  EXPECT_EQ(parse_console_command("set a='" + std::string(255, 'v') + "'").kind, Kind::Set);
  EXPECT_EQ(parse_console_command("set a='" + std::string(256, 'v') + "'").kind, Kind::BadArguments);
  EXPECT_EQ(parse_console_command("set " + longer_argument + "=1").kind, Kind::BadArguments);
}

TEST(ConsoleParser, SetsByEqualsAndByTo) {
  for (const char* text : {"set a=b", "SET a = b;", "set a =b", "set a TO b", "Set a to 'b'", "set a to'b'",
                           "set a='b' ; ", "set \"a\" = \"b\""}) {
    const auto command = parse_console_command(text);
    EXPECT_EQ(command.kind, Kind::Set) << text;
    EXPECT_EQ(command.argument, "a") << text;
    EXPECT_EQ(command.value, "b") << text;
  }
  EXPECT_EQ(parse_console_command("set a='it''s; so'").value, "it's; so");
  EXPECT_EQ(parse_console_command("set a=''").value, "");
  EXPECT_EQ(parse_console_command("set to=to").value, "to");
  EXPECT_EQ(parse_console_command("set a to to").value, "to");
}

TEST(ConsoleParser, RefusesASetThatIsNone) {
  for (const char* text : {"set a=", "set =b", "set a b c", "set a tob", "set a 'b'", "set a=b c", "set a='b",
                           "set a=1.5", "set a=/tmp/x", "set a=b; set c=d", "seta=b"}) {
    EXPECT_EQ(parse_console_command(text).kind, Kind::Invalid) << text;
  }
}

TEST(ConsoleParser, SurvivesATextCutAnywhere) {
  const std::string text = " set \"k\"\"ey\" TO 'va''lue' ; ";
  for (std::size_t n = 0; n <= text.size(); ++n) static_cast<void>(parse_console_command(text.substr(0, n)));
}

}  // namespace
}  // namespace pgvigil::pool
