// Completion scripts for shells, made from the same tree of verbs and options that the command line is parsed with.
// Pure.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace pgvigil::ctl {

struct OptionWords {
  std::vector<std::string> names;  // "-f", "--format"
  std::string help;
  bool takes_value = false;
  std::vector<std::string> choices;  // of the value; empty: file names
};

struct VerbWords {
  std::string name, help;
  std::vector<OptionWords> options;
};

struct CommandWords {
  std::vector<OptionWords> options;  // before the verb
  std::vector<VerbWords> verbs;
};

CommandWords words_of(const CLI::App& app);
// Empty for a shell that is not known.
std::string completion_script(const std::string& shell, const CommandWords& words);

}  // namespace pgvigil::ctl
