#include "pool/console_parser.h"

#include <algorithm>

namespace pgvigil::pool {
namespace {

constexpr std::size_t kNameMax = 15, kArgumentMax = 63, kValueMax = 255;

bool blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool word_character(char c) { return letter(c) || (c >= '0' && c <= '9') || c == '_'; }
char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char c) { return lower(c); });
  return text;
}

class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  bool blanks() {
    const std::size_t before = rest_.size();
    while (!rest_.empty() && blank(rest_.front())) rest_.remove_prefix(1);
    return rest_.size() != before;
  }
  // A run of letters, digits and underscores, or something "quoted".
  std::optional<std::string> word() {
    if (!rest_.empty() && rest_.front() == '"') return quoted('"');
    std::size_t n = 0;
    while (n < rest_.size() && word_character(rest_[n])) ++n;
    if (n == 0) return std::nullopt;
    return take(n);
  }
  // A doubled quote stands for one.
  std::optional<std::string> quoted(char quote) {
    if (rest_.empty() || rest_.front() != quote) return std::nullopt;
    std::string text;
    for (std::size_t i = 1; i < rest_.size(); ++i) {
      if (rest_[i] != quote) {
        text += rest_[i];
      } else if (i + 1 < rest_.size() && rest_[i + 1] == quote) {
        text += quote;
        ++i;
      } else {
        rest_.remove_prefix(i + 1);
        return text;
      }
    }
    return std::nullopt;
  }
  bool sign(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  [[nodiscard]] bool at(char c) const { return !rest_.empty() && rest_.front() == c; }
  // Nothing more, except for one semicolon.
  bool ends() {
    blanks();
    if (sign(';')) blanks();
    return rest_.empty();
  }

 private:
  std::string take(std::size_t n) {
    std::string text(rest_.substr(0, n));
    rest_.remove_prefix(n);
    return text;
  }
  std::string_view rest_;
};

ConsoleCommand invalid() { return {}; }

ConsoleCommand checked(ConsoleCommand command) {
  if (command.name.size() > kNameMax || command.argument.value_or("").size() > kArgumentMax ||
      command.value.size() > kValueMax) {
    return {ConsoleCommand::Kind::BadArguments, {}, std::nullopt, {}};
  }
  return command;
}

// What follows SET and a blank.
ConsoleCommand set_command(Scanner scanner) {
  auto key = scanner.word();
  if (!key) return invalid();
  const bool apart = scanner.blanks();
  if (!scanner.sign('=')) {
    const auto to = apart ? scanner.word() : std::nullopt;
    if (!to || lower(*to) != "to") return invalid();
    if (!scanner.at(' ') && !scanner.at('\t') && !scanner.at('\n') && !scanner.at('\r') && !scanner.at('\'') &&
        !scanner.at('"')) {
      return invalid();
    }
  }
  scanner.blanks();
  auto value = scanner.at('\'') ? scanner.quoted('\'') : scanner.word();
  if (!value || !scanner.ends()) return invalid();
  return checked({ConsoleCommand::Kind::Set, "set", std::move(*key), std::move(*value)});
}

}  // namespace

ConsoleCommand parse_console_command(std::string_view text) {
  Scanner scanner(text);
  scanner.blanks();
  auto name = scanner.word();
  if (!name) return invalid();
  *name = lower(std::move(*name));
  const bool apart = scanner.blanks();
  if (*name == "set" && apart) {
    auto set = set_command(scanner);
    if (set.kind != ConsoleCommand::Kind::Invalid) return set;
  }
  auto argument = apart ? scanner.word() : std::nullopt;
  if (!scanner.ends()) return invalid();
  return checked({ConsoleCommand::Kind::Command, std::move(*name), std::move(argument), {}});
}

}  // namespace pgvigil::pool
