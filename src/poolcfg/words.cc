#include "poolcfg/words.h"

#include <fmt/format.h>

#include <algorithm>

#include "poolcfg/values.h"

namespace pgvigil::poolcfg {
namespace {

constexpr std::string_view kBlanks = " \t\r\v\f\n";

bool is_blank(char c) { return kBlanks.find(c) != std::string_view::npos; }

}  // namespace

bool WordReader::at_end() {
  at_ = std::min(line_.find_first_not_of(kBlanks, at_), line_.size());
  return at_ == line_.size() || line_[at_] == '#';
}

Parsed<Word> WordReader::quoted(std::string_view what) {
  Word word{"", true};
  for (++at_; at_ < line_.size(); ++at_) {
    if (line_[at_] != '"') {
      word.text += line_[at_];
      continue;
    }
    ++at_;
    if (next_is('"')) {
      word.text += '"';
      continue;
    }
    if (at_ < line_.size() && !is_blank(line_[at_]) && line_[at_] != ',') {
      return misfit(fmt::format("something follows the quotes of {}", what), "put a blank or a comma there");
    }
    return word;
  }
  return misfit(fmt::format("the quotes of {} do not end", what), "add the closing \"");
}

Parsed<Word> WordReader::word(std::string_view what) {
  if (at_end() || next_is(',')) return misfit(fmt::format("{} is missing", what), "");
  if (next_is('"')) return quoted(what);
  const std::size_t end = std::min(line_.find_first_of(" \t\r\v\f\n,\"#", at_), line_.size());
  Word word{std::string(line_.substr(at_, end - at_)), false};
  at_ = end;
  if (next_is('"')) {
    return misfit(fmt::format("quotes begin inside of {}", what), "put the whole name into quotes");
  }
  return word;
}

Parsed<std::vector<Word>> WordReader::list(std::string_view what) {
  std::vector<Word> words;
  for (;;) {
    auto next = word(what);
    if (!next) return tl::unexpected<Misfit>(next.error());
    words.push_back(std::move(*next));
    if (at_end() || !next_is(',')) return words;
    ++at_;
  }
}

std::string WordReader::rest() {
  if (at_end()) return {};
  bool in_quotes = false;
  std::size_t end = at_;
  for (; end < line_.size(); ++end) {
    if (line_[end] == '"') in_quotes = !in_quotes;
    if (line_[end] == '#' && !in_quotes && is_blank(line_[end - 1])) break;
  }
  std::string text(trimmed(line_.substr(at_, end - at_)));
  at_ = end;
  return text;
}

}  // namespace pgvigil::poolcfg
