#include "config/problem.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace pgvigil::config {

namespace {

std::string folded(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '-' || c == '_') continue;
    result += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return result;
}

// Optimal string alignment: insertions, deletions, replacements and swaps of neighbours.
std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> before_last(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    before_last = last;
    last = row;
  }
  return last[b.size()];
}

// A value comes from a file that may hold anything: one line, no control characters, not longer than an operator reads.
std::string shown(std::string_view value) {
  constexpr std::size_t kLongest = 80;
  std::string text;
  for (const char c : value.substr(0, kLongest)) {
    if (c == '\n') {
      text += "\\n";
    } else {
      text += std::iscntrl(static_cast<unsigned char>(c)) != 0 ? '?' : c;
    }
  }
  if (value.size() > kLongest) text += "...";
  return text;
}

}  // namespace

std::string Problem::message() const {
  std::string text;
  if (!where.file.empty()) {
    text = where.line > 0 ? fmt::format("{}:{}: ", where.file, where.line) : where.file + ": ";
  }
  if (!path.empty()) text += shown(path) + ": ";
  if (!value.empty()) text += fmt::format("\"{}\": ", shown(value));
  text += what;
  if (!valid.empty()) text += ", " + valid;
  return text;
}

bool has_errors(const Problems& problems) {
  return std::any_of(problems.begin(), problems.end(),
                     [](const Problem& problem) { return problem.severity == Problem::Severity::Error; });
}

std::optional<std::string> nearest_match(std::string_view text, const std::vector<std::string>& candidates) {
  constexpr std::size_t kLongest = 64;  // the distance costs length times length
  if (text.empty() || text.size() > kLongest) return std::nullopt;
  const std::string wanted = folded(text);
  std::optional<std::string> best;
  std::size_t best_distance = std::max<std::size_t>(1, wanted.size() / 3) + 1;
  if (wanted.size() < 3) best_distance = 1;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = edit_distance(wanted, folded(candidate));
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

}  // namespace pgvigil::config
