#include "poolcfg/connection_string.h"

#include <fmt/format.h>

#include <algorithm>

namespace pgvigil::poolcfg {
namespace {

std::size_t skip_spaces(std::string_view text, std::size_t at) {
  return std::min(text.find_first_not_of(' ', at), text.size());
}

// Behind the opening quote. False: it does not end.
bool read_quoted(std::string_view text, std::size_t& at, std::string& value) {
  while (at < text.size()) {
    if (text[at] != '\'') {
      value += text[at++];
    } else if (at + 1 < text.size() && text[at + 1] == '\'') {
      value += '\'';
      at += 2;
    } else {
      ++at;
      return true;
    }
  }
  return false;
}

}  // namespace

Parsed<std::vector<Pair>> parse_pairs(std::string_view text) {
  const std::string form = "write key=value pairs with spaces between them; quote values with spaces: key='a b'";
  std::vector<Pair> pairs;
  for (std::size_t at = skip_spaces(text, 0); at < text.size(); at = skip_spaces(text, at)) {
    Pair pair;
    const std::size_t key_end = std::min(text.find_first_of("= ", at), text.size());
    pair.key = text.substr(at, key_end - at);
    at = skip_spaces(text, key_end);
    if (pair.key.empty() || at == text.size() || text[at] != '=') {
      return misfit(pairs.empty() ? "does not begin with key=value"
                                  : fmt::format("what follows the value of {} is not key=value", pairs.back().key),
                    form);
    }
    at = skip_spaces(text, at + 1);
    if (at < text.size() && text[at] == '\'') {
      ++at;
      if (!read_quoted(text, at, pair.value)) {
        return misfit(fmt::format("the quote of {} does not end", shown(pair.key)), form);
      }
      if (at < text.size() && text[at] != ' ') {
        return misfit(fmt::format("no space follows the quoted value of {}", shown(pair.key)), form);
      }
    } else {
      const std::size_t end = std::min(text.find(' ', at), text.size());
      pair.value = text.substr(at, end - at);
      at = end;
    }
    if (pair.value.empty()) {
      return misfit(fmt::format("{} has no value", shown(pair.key)), "leave the key out where it has none");
    }
    pairs.push_back(std::move(pair));
  }
  return pairs;
}

}  // namespace pgvigil::poolcfg
