#include "ctl/completion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>

namespace pgvigil::ctl {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CompletionTest : public ::testing::Test {
 protected:
  CompletionTest() {
    app.add_option("-c,--config-file", text, "configuration file");
    auto* list = app.add_subcommand("list", "the cluster's members: all of them");
    list->add_option("-f,--format", text, "pretty or tsv [or more]");
    list->add_flag("-e,--extended", flag, "all columns");
    list->add_option("NAME", text, "positional");
  }
  CLI::App app;
  std::string text;
  bool flag = false;
};

TEST_F(CompletionTest, WordsComeFromTheParsersTree) {
  const auto words = words_of(app);
  ASSERT_EQ(words.verbs.size(), 1U);
  const auto& list = words.verbs.front();
  EXPECT_EQ(list.name, "list");
  ASSERT_EQ(list.options.size(), 3U);  // --help too, no positional
  EXPECT_THAT(list.options[1].names, ElementsAre("-f", "--format"));
  EXPECT_TRUE(list.options[1].takes_value);
  EXPECT_THAT(list.options[1].choices, ElementsAre("pretty", "tsv", "json", "yaml", "yml"));
  EXPECT_FALSE(list.options[2].takes_value);
}

TEST_F(CompletionTest, EachShellGetsItsOwnSyntax) {
  const auto words = words_of(app);
  const auto bash = completion_script("bash", words);
  EXPECT_THAT(bash, HasSubstr("'list --format') words='pretty tsv json yaml yml'; given=1 ;;"));
  EXPECT_THAT(bash, HasSubstr("-c|--config-file) i=$((i + 1)) ;;"));
  const auto zsh = completion_script("zsh", words);
  EXPECT_THAT(zsh, HasSubstr(R"('list:the cluster'\''s members\: all of them')"));
  EXPECT_THAT(zsh, HasSubstr(R"('*--format[pretty or tsv \[or more\]]:value:(pretty tsv json yaml yml)')"));
  const auto fish = completion_script("fish", words);
  EXPECT_THAT(fish, HasSubstr("-s f -l format -d 'pretty or tsv [or more]' -x -a 'pretty tsv json yaml yml'"));
  EXPECT_EQ(completion_script("tcsh", words), "");
}

}  // namespace
}  // namespace pgvigil::ctl
