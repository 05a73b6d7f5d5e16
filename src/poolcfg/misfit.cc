#include "poolcfg/misfit.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace pgvigil::poolcfg {
namespace {

char folded(char c) {
  if (c >= 'A' && c <= 'Z') return static_cast<char>(c - 'A' + 'a');
  return c == '-' ? '_' : c;
}

// Optimal string alignment: insertions, deletions, replacements and swaps of neighbours.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before_last(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const bool same = folded(a[i - 1]) == folded(b[j - 1]);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (same ? 0 : 1)});
      const bool swapped =
          i > 1 && j > 1 && folded(a[i - 1]) == folded(b[j - 2]) && folded(a[i - 2]) == folded(b[j - 1]);
      if (swapped) row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    before_last = last;
    last = row;
  }
  return last[b.size()];
}

}  // namespace

std::string Where::text() const { return line > 0 ? fmt::format("{}:{}", file, line) : file; }

std::string shown(std::string_view value) {
  constexpr std::size_t kLongest = 80;
  std::string text;
  for (const char c : value.substr(0, kLongest)) text += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  if (value.size() > kLongest) text += "...";
  return text;
}

tl::unexpected<Error> refused(const Where& where, std::string_view key, std::string_view value, const Misfit& misfit) {
  return fail(Errc::InvalidConfig, fmt::format("{}: {} = \"{}\"", where.text(), shown(key), shown(value)), {},
              misfit.why, misfit.valid);
}

tl::unexpected<Error> refused_key(const Where& where, std::string_view key, const Misfit& misfit) {
  return fail(Errc::InvalidConfig, fmt::format("{}: {}", where.text(), shown(key)), {}, misfit.why, misfit.valid);
}

std::optional<std::string_view> nearest_name(std::string_view text, std::span<const std::string_view> candidates) {
  constexpr std::size_t kLongest = 64;  // the distance costs length times length
  if (text.empty() || text.size() > kLongest) return std::nullopt;
  std::optional<std::string_view> best;
  std::size_t best_distance = text.size() < 3 ? 1 : std::max<std::size_t>(1, text.size() / 3) + 1;
  for (const std::string_view candidate : candidates) {
    const std::size_t distance = edit_distance(text, candidate);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

std::string did_you_mean(std::string_view text, std::span<const std::string_view> candidates) {
  constexpr std::size_t kMostListed = 24;  // more is the documentation's work
  std::string remedy;
  if (const auto near = nearest_name(text, candidates)) remedy = fmt::format("did you mean \"{}\"?", *near);
  if (candidates.size() <= kMostListed) {
    if (!remedy.empty()) remedy += ' ';
    remedy += fmt::format("valid: {}", fmt::join(candidates, ", "));
  } else if (remedy.empty()) {
    remedy = "see docs/pool-configuration.md for the keys that exist";
  }
  return remedy;
}

}  // namespace pgvigil::poolcfg
