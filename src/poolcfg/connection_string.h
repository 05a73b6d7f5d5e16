// The value of an entry in [databases], [users] and [peers]: key=value pairs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "poolcfg/misfit.h"

namespace pgvigil::poolcfg {

struct Pair {
  std::string key, value;
};

// Pairs are separated by spaces; a value with spaces stands in single quotes, '' inside is one. The error shows no
// values, because one of them may be a password.
Parsed<std::vector<Pair>> parse_pairs(std::string_view text);

// One key that an entry may have. Rows of a table for each section.
template <class Entry>
struct PairRow {
  std::string_view key, kind, fallback, doc;                    // kind and fallback: for the documentation
  Parsed<std::string> (*take)(Entry&, std::string_view value);  // the result: a notice, or empty
  bool secret = false;
};

}  // namespace pgvigil::poolcfg
