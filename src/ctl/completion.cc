#include "ctl/completion.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>

#include "ctl/run.h"

namespace pgvigil::ctl {
namespace {

// Option names whose values are known, in whatever verb.
std::vector<std::string> choices_of(const std::vector<std::string>& names) {
  for (const auto& name : names) {
    if (name == "--format") return output_formats();
    if (name == "--role") return member_roles();
  }
  return {};
}

OptionWords option_words(const CLI::Option& option) {
  OptionWords words;
  for (const auto& name : option.get_snames()) words.names.push_back("-" + name);
  for (const auto& name : option.get_lnames()) words.names.push_back("--" + name);
  words.help = option.get_description();
  words.takes_value = option.get_items_expected_max() > 0;
  words.choices = choices_of(words.names);
  return words;
}

std::vector<OptionWords> options_of(const CLI::App& app) {
  std::vector<OptionWords> options;
  for (const auto* option : app.get_options()) {
    auto words = option_words(*option);
    if (!words.names.empty()) options.push_back(std::move(words));
  }
  return options;
}

std::string names_joined(const std::vector<OptionWords>& options, const char* separator) {
  std::vector<std::string> names;
  for (const auto& option : options) names.insert(names.end(), option.names.begin(), option.names.end());
  return fmt::format("{}", fmt::join(names, separator));
}

// For a single-quoted word of a shell, and for zsh's descriptions, where brackets and colons mean something.
std::string quoted(const std::string& text, const char* escaped = "") {
  std::string out;
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
      continue;
    }
    if (std::string_view(escaped).find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

std::string bash_script(const CommandWords& words) {
  std::string globals_with_value, verbs, values, options;
  for (const auto& option : words.options) {
    if (!option.takes_value) continue;
    for (const auto& name : option.names) globals_with_value += (globals_with_value.empty() ? "" : "|") + name;
  }
  for (const auto& verb : words.verbs) {
    verbs += (verbs.empty() ? "" : " ") + verb.name;
    options += fmt::format("    {}) words='{}' ;;\n", verb.name, names_joined(verb.options, " "));
    for (const auto& option : verb.options) {
      for (const auto& name : option.names) {
        if (option.takes_value) {
          values +=
              fmt::format("    '{} {}') words='{}'; given=1 ;;\n", verb.name, name, fmt::join(option.choices, " "));
        }
      }
    }
  }
  return fmt::format(R"(# bash completion for pgvigil: source this file, or put it into
# /usr/share/bash-completion/completions/pgvigil
_pgvigil() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} verb='' words='' given='' i=1
  while [ "$i" -lt "$COMP_CWORD" ]; do
    case ${{COMP_WORDS[i]}} in
      {0}) i=$((i + 1)) ;;
      -*) ;;
      *) verb=${{COMP_WORDS[i]}}; break ;;
    esac
    i=$((i + 1))
  done
  COMPREPLY=()
  case $prev in {0}) [ -z "$verb" ] && return ;; esac
  case "$verb $prev" in
{1}  esac
  [ -n "$given" ] || case $verb in
    '') words='{2} {3}' ;;
{4}  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o default -F _pgvigil pgvigil patronictl
)",
                     globals_with_value, values, verbs, names_joined(words.options, " "), options);
}

std::string zsh_option(const OptionWords& option) {
  std::string lines;
  for (const auto& name : option.names) {
    std::string action;
    if (option.takes_value) {
      action = option.choices.empty() ? ":value:_files" : fmt::format(":value:({})", fmt::join(option.choices, " "));
    }
    lines += fmt::format(" \\\n        '*{}[{}]{}'", name, quoted(option.help, "[]:"), action);
  }
  return lines;
}

std::string zsh_script(const CommandWords& words) {
  std::string verbs, globals, cases;
  for (const auto& option : words.options) globals += zsh_option(option);
  for (const auto& verb : words.verbs) {
    verbs += fmt::format("    '{}:{}'\n", verb.name, quoted(verb.help, ":"));
    std::string options;
    for (const auto& option : verb.options) options += zsh_option(option);
    cases += fmt::format("    {})\n      _arguments{} \\\n        '*:argument:_files' ;;\n", verb.name, options);
  }
  return fmt::format(R"(#compdef pgvigil patronictl
# zsh completion for pgvigil: save as _pgvigil in a directory of $fpath
_pgvigil() {{
  local -a verbs
  local state line
  verbs=(
{}  )
  _arguments -C{} \
    '1:verb:->verb' '*::argument:->arguments'
  case $state in
    verb) _describe verb verbs; return ;;
  esac
  case $words[1] in
{}  esac
}}
_pgvigil "$@"
)",
                     verbs, globals, cases);
}

std::string fish_option(const std::string& condition, const OptionWords& option) {
  std::string line = "complete -c pgvigil -n '" + condition + "'";
  for (const auto& name : option.names) {
    line += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
  }
  line += " -d '" + quoted(option.help) + "'";
  if (option.takes_value) {
    line += option.choices.empty() ? " -r" : fmt::format(" -x -a '{}'", fmt::join(option.choices, " "));
  }
  return line + "\n";
}

std::string fish_script(const CommandWords& words) {
  std::string out = "# fish completion for pgvigil: save as ~/.config/fish/completions/pgvigil.fish\n";
  for (const auto& option : words.options) out += fish_option("__fish_use_subcommand", option);
  for (const auto& verb : words.verbs) {
    out += fmt::format("complete -c pgvigil -n __fish_use_subcommand -f -a {} -d '{}'\n", verb.name, quoted(verb.help));
    for (const auto& option : verb.options) out += fish_option("__fish_seen_subcommand_from " + verb.name, option);
  }
  return out + "complete -c patronictl -w pgvigil\n";
}

}  // namespace

CommandWords words_of(const CLI::App& app) {
  CommandWords words;
  words.options = options_of(app);
  for (const auto* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    words.verbs.push_back({verb->get_name(), verb->get_description(), options_of(*verb)});
  }
  return words;
}

std::string completion_script(const std::string& shell, const CommandWords& words) {
  if (shell == "bash") return bash_script(words);
  if (shell == "zsh") return zsh_script(words);
  if (shell == "fish") return fish_script(words);
  return {};
}

}  // namespace pgvigil::ctl
