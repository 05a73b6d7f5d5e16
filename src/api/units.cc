#include "api/units.h"

#include <array>
#include <cmath>
#include <cstdlib>
#include <string>
#include <utility>

namespace pgvigil::api {
namespace {

using Unit = std::pair<std::string_view, double>;

constexpr std::array<Unit, 6> kByteUnits{Unit{"", 1.0},      Unit{"B", 1.0},     Unit{"kB", 1024.0},
                                         Unit{"MB", 0x1p20}, Unit{"GB", 0x1p30}, Unit{"TB", 0x1p40}};
constexpr std::array<Unit, 7> kTimeUnits{Unit{"", 1.0},   Unit{"us", 1e-6}, Unit{"ms", 1e-3}, Unit{"s", 1.0},
                                         Unit{"min", 60}, Unit{"h", 3600},  Unit{"d", 86400}};

constexpr std::size_t kTextMax = 64;

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

template <std::size_t N>
std::optional<std::int64_t> parse(std::string_view input, const std::array<Unit, N>& units) {
  if (input.size() > kTextMax) return std::nullopt;
  const std::string text(trim(input));
  // strtod alone would also take "inf" and "nan".
  if (text.empty() || text.find_first_of("0123456789") == std::string::npos) return std::nullopt;
  const std::size_t first = text.find_first_not_of("+-.");
  if (first == std::string::npos || text[first] < '0' || text[first] > '9') return std::nullopt;
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  const std::string_view unit = trim(std::string_view(end));
  for (const auto& [name, factor] : units) {
    if (name != unit) continue;
    const double value = std::nearbyint(number * factor);
    if (!(std::fabs(value) < 0x1p62)) return std::nullopt;
    return static_cast<std::int64_t>(value);
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::int64_t> parse_bytes(std::string_view text) { return parse(text, kByteUnits); }

std::optional<std::int64_t> parse_seconds(std::string_view text) { return parse(text, kTimeUnits); }

}  // namespace pgvigil::api
