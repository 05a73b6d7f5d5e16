// Not done: normalisation (NFKC), the checks of bidirectional text and of code points that Unicode 3.2 did not know.
// They need tables of a hundred kilobytes. What is typed on keyboards arrives composed, and NFKC leaves composed
// letters alone; a password with ligatures, full-width forms or separate accents gets other keys here than in
// PostgreSQL, so such a user needs a SCRAM secret in place of a cleartext password.
#include "pgwire/saslprep.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

namespace pgvigil::pgwire {

namespace {

struct Range {
  char32_t first, last;
};

// RFC 3454 table C.1.2: spaces that are not ASCII. U+200B is in B.1 too; PostgreSQL asks this table first.
constexpr std::array kSpaces{Range{0x00A0, 0x00A0}, Range{0x1680, 0x1680}, Range{0x2000, 0x200B},
                             Range{0x202F, 0x202F}, Range{0x205F, 0x205F}, Range{0x3000, 0x3000}};

// RFC 3454 table B.1: commonly mapped to nothing.
constexpr std::array kNothing{Range{0x00AD, 0x00AD}, Range{0x034F, 0x034F}, Range{0x1806, 0x1806},
                              Range{0x180B, 0x180D}, Range{0x200C, 0x200D}, Range{0x2060, 0x2060},
                              Range{0xFE00, 0xFE0F}, Range{0xFEFF, 0xFEFF}};

// RFC 4013 section 2.3: tables C.2.1, C.2.2, C.3 to C.9 of RFC 3454; the last two code points of each plane apart.
constexpr std::array kProhibited{
    Range{0x0000, 0x001F},   Range{0x007F, 0x009F},   Range{0x0340, 0x0341},    Range{0x06DD, 0x06DD},
    Range{0x070F, 0x070F},   Range{0x180E, 0x180E},   Range{0x200C, 0x200F},    Range{0x2028, 0x202E},
    Range{0x2060, 0x2063},   Range{0x206A, 0x206F},   Range{0x2FF0, 0x2FFB},    Range{0xD800, 0xF8FF},
    Range{0xFDD0, 0xFDEF},   Range{0xFEFF, 0xFEFF},   Range{0xFFF9, 0xFFFD},    Range{0x1D173, 0x1D17A},
    Range{0xE0001, 0xE0001}, Range{0xE0020, 0xE007F}, Range{0xF0000, 0x10FFFF},
};

template <std::size_t n>
bool in(const std::array<Range, n>& table, char32_t c) {
  return std::any_of(table.begin(), table.end(), [c](Range r) { return c >= r.first && c <= r.last; });
}

bool prohibited(char32_t c) { return in(kProhibited, c) || (c & 0xFFFE) == 0xFFFE; }

// The next code point; nothing for what is not UTF-8 (RFC 3629: no surrogates, no overlong forms).
std::optional<char32_t> take_code_point(std::string_view& text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto first = byte(0);
  const std::size_t size = first < 0x80 ? 1 : first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if ((first >= 0x80 && first < 0xC2) || first > 0xF4 || size > text.size()) return std::nullopt;
  char32_t c = size == 1 ? first : first & (0x7FU >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return std::nullopt;
    c = c << 6 | (byte(i) & 0x3FU);
  }
  constexpr std::array<char32_t, 5> kSmallest{0, 0, 0x80, 0x800, 0x10000};
  if (c < kSmallest[size] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) return std::nullopt;
  text.remove_prefix(size);
  return c;
}

}  // namespace

std::string saslprep(std::string_view password) {
  const auto ascii = [](char c) { return static_cast<unsigned char>(c) < 0x80; };
  if (std::all_of(password.begin(), password.end(), ascii)) return std::string(password);
  std::string prepared;
  prepared.reserve(password.size());  // never longer, and a reallocation would leave a copy of the password behind
  for (auto rest = password; !rest.empty();) {
    const auto before = rest;
    const auto c = take_code_point(rest);
    if (!c) return std::string(password);
    if (in(kSpaces, *c)) {
      prepared += ' ';
    } else if (!in(kNothing, *c)) {
      if (prohibited(*c)) return std::string(password);
      prepared += before.substr(0, before.size() - rest.size());
    }
  }
  return prepared.empty() ? std::string(password) : prepared;
}

}  // namespace pgvigil::pgwire
