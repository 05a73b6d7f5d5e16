#include "poolcfg/auth_file.h"

#include "helpers.h"

namespace pgvigil::poolcfg {
namespace {

std::string password(const AuthFile& file, const std::string& user) {
  const auto found = file.passwords.find(user);
  return found == file.passwords.end() ? "unknown user" : found->second.reveal();
}

TEST(UserList, Lines) {
  const auto file = parse_auth_file(
      "; c\n\n\"a\" \"b\"\r\n\t\"c\"\"d\"   \"e \"\"f\" ignored \"x\"\n\"s\" \"SCRAM-SHA-256$4096:x$y:z\"\n\"n\" \"\"\n"
      "\"t\"\"u\"",
      "users.txt");
  EXPECT_EQ(password(file, "a"), "b");
  EXPECT_EQ(password(file, "c\"d"), "e \"f");
  EXPECT_EQ(password(file, "s"), "SCRAM-SHA-256$4096:x$y:z");
  EXPECT_EQ(password(file, "n"), "");
  EXPECT_THAT(file.broken, HasSubstr("users.txt:7"));
}

TEST(UserList, TheLaterOfTwoCounts) {
  const auto file = parse_auth_file("\"a\" \"1\"\n\"a\" \"2\"\n", "users.txt");
  EXPECT_EQ(password(file, "a"), "2");
  EXPECT_EQ(file.broken, "");
}

TEST(UserList, ReadingStopsAtABrokenLineAndShowsNoneOfIt) {
  for (const char* line :
       {"b hidden", "\"b\"", "\"b\" hidden", "\"b\" \"hidden", "# hidden", "\"b", "\"b\",\"hidden\""}) {
    const auto file = parse_auth_file("\"a\" \"1\"\n" + std::string(line) + "\n\"c\" \"3\"\n", "users.txt");
    EXPECT_EQ(file.passwords.size(), 1U) << line;
    EXPECT_THAT(file.broken, AllOf(HasSubstr("users.txt:2"), HasSubstr("a comment begins with ;"),
                                   HasSubstr("the rest of the file is skipped"), Not(HasSubstr("hidden"))));
  }
}

TEST(UserList, Bounds) {
  const auto lengths = [](std::size_t user, std::size_t password) {
    return parse_auth_file("\"" + std::string(user, 'u') + "\" \"" + std::string(password, 'p') + "\"\n", "f").broken;
  };
  EXPECT_EQ(lengths(127, 65530), "");
  EXPECT_THAT(lengths(128, 1), HasSubstr("the user is longer than 127 bytes"));
  EXPECT_THAT(lengths(1, 65531), HasSubstr("the password is longer than 65530 bytes"));
}

TEST(UserList, Files) {
  Directory directory;
  const auto file = load_auth_file(directory.write("users.txt", "\"a\" \"b\"\n"));
  ASSERT_TRUE(file);
  EXPECT_EQ(password(*file, "a"), "b");
  EXPECT_THAT(load_auth_file("/nowhere").error().message(),
              AllOf(HasSubstr("/nowhere"), HasSubstr("No such file"), HasSubstr("has to be able to read it")));
}

}  // namespace
}  // namespace pgvigil::poolcfg
