#include "ha/sync_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>

namespace pgvigil::ha {
namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

// syncrep_scanner.l: a name without quotes.
bool is_plain(const std::string& name) {
  if (name.empty() || lower(name) == "first" || lower(name) == "any") return false;
  const auto begins = [](unsigned char c) { return std::isalpha(c) != 0 || c == '_'; };
  const auto goes_on = [&](unsigned char c) { return begins(c) || std::isdigit(c) != 0 || c == '$'; };
  return begins(static_cast<unsigned char>(name.front())) && std::all_of(name.begin(), name.end(), goes_on);
}

std::string quoted(const std::string& name) {
  if (is_plain(name)) return name;
  std::string text = "\"";
  for (const char c : name) {
    if (c == '"') text += c;
    text += c;
  }
  return text + "\"";
}

struct Token {
  enum class Kind : std::uint8_t { End, Word, Number, Quoted, Star, Sign } kind = Kind::End;
  std::string text;
};

class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  Token next() {
    while (!rest_.empty() && std::isspace(static_cast<unsigned char>(rest_.front())) != 0) rest_.remove_prefix(1);
    if (rest_.empty()) return {};
    const char first = rest_.front();
    if (first == '"') return in_quotes();
    if (first == '*') return take(1, Token::Kind::Star);
    if (first == '(' || first == ')' || first == ',') return take(1, Token::Kind::Sign);
    const auto is_word = [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '$' || c >= 0x80; };
    std::size_t length = 0;
    while (length < rest_.size() && is_word(static_cast<unsigned char>(rest_[length]))) ++length;
    if (length == 0) return take(1, Token::Kind::Sign);
    const auto word = rest_.substr(0, length);
    const bool digits = word.find_first_not_of("0123456789") == std::string_view::npos;
    return take(length, digits ? Token::Kind::Number : Token::Kind::Word);
  }

 private:
  Token take(std::size_t length, Token::Kind kind) {
    Token token{kind, std::string(rest_.substr(0, length))};
    rest_.remove_prefix(length);
    return token;
  }
  Token in_quotes() {
    Token token{Token::Kind::Quoted, {}};
    rest_.remove_prefix(1);
    while (!rest_.empty()) {
      const char c = rest_.front();
      rest_.remove_prefix(1);
      if (c != '"') {
        token.text += c;
      } else if (!rest_.empty() && rest_.front() == '"') {
        token.text += c;
        rest_.remove_prefix(1);
      } else {
        return token;
      }
    }
    return {Token::Kind::Sign, "\""};  // no end
  }

  std::string_view rest_;
};

// "a, b" up to `end`; false: not a list.
bool read_list(Scanner& scanner, Token first, const std::string& end, SyncNames& names) {
  Token token = std::move(first);
  for (;;) {
    if (token.kind == Token::Kind::Star) {
      names.anybody = true;
    } else if (token.kind == Token::Kind::Word || token.kind == Token::Kind::Quoted ||
               token.kind == Token::Kind::Number) {
      names.names.emplace_back(token.text);
    } else {
      return false;
    }
    token = scanner.next();
    if (token.kind == Token::Kind::End || token.text == ")") return token.text == end;
    if (token.kind != Token::Kind::Sign || token.text != ",") return false;
    token = scanner.next();
  }
}

}  // namespace

std::string to_text(const SyncNames& names) {
  if (names.anybody) return names.quorum ? fmt::format("ANY {} (*)", names.count) : std::string("*");
  if (names.count == 0 || names.names.empty()) return {};
  std::string list;
  for (const auto& name : names.names) list += (list.empty() ? "" : ",") + quoted(name.text());
  if (names.quorum) return fmt::format("ANY {} ({})", names.count, list);
  return names.names.size() == 1 ? list : fmt::format("{} ({})", names.count, list);
}

SyncNames parse_sync_names(std::string_view text) {
  Scanner scanner(text);
  SyncNames names;
  names.count = 1;
  Token token = scanner.next();
  if (token.kind == Token::Kind::End) return {};
  const std::string word = token.kind == Token::Kind::Word ? lower(token.text) : std::string();
  bool counted = false;
  if (word == "any" || word == "first") {
    names.quorum = word == "any";
    token = scanner.next();
    if (token.kind != Token::Kind::Number) return {};
  }
  if (token.kind == Token::Kind::Number) {
    const Token after = scanner.next();
    counted = after.text == "(" && after.kind == Token::Kind::Sign;
    if (!counted) return {};
    std::from_chars(token.text.data(), token.text.data() + token.text.size(), names.count);
    token = scanner.next();
  }
  if (!read_list(scanner, std::move(token), counted ? ")" : "", names)) return {};
  if (names.anybody) names.names.clear();
  std::sort(names.names.begin(), names.names.end());
  return names;
}

}  // namespace pgvigil::ha
