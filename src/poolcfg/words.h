// The words of one line of an HBA or ident file.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "poolcfg/misfit.h"

namespace pgvigil::poolcfg {

struct Word {
  std::string text;
  bool quoted = false;  // a quoted word is a plain name, never a keyword
  [[nodiscard]] bool is(std::string_view keyword) const { return !quoted && text == keyword; }
};

class WordReader {
 public:
  explicit WordReader(std::string_view line) : line_(line) {}

  // Blanks are skipped; # begins a comment.
  [[nodiscard]] bool at_end();
  Parsed<Word> word(std::string_view what);  // `what` is for the error: "the method"
  // a,b,"c d": blanks around the commas do no harm.
  Parsed<std::vector<Word>> list(std::string_view what);
  // What is left, without a comment that stands after a blank.
  std::string rest();

 private:
  Parsed<Word> quoted(std::string_view what);
  [[nodiscard]] bool next_is(char c) const { return at_ < line_.size() && line_[at_] == c; }

  std::string_view line_;
  std::size_t at_ = 0;
};

}  // namespace pgvigil::poolcfg
