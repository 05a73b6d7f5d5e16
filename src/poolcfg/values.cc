#include "poolcfg/values.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace pgvigil::poolcfg {
namespace {

constexpr std::string_view kBlanks = " \t\r\v\f";

constexpr std::pair<std::string_view, PoolMode> kPoolModes[] = {
    {"session", PoolMode::Session}, {"transaction", PoolMode::Transaction}, {"statement", PoolMode::Statement}};
// Those of auth_type; peer and reject exist in the HBA file only.
constexpr std::pair<std::string_view, AuthType> kAuthTypes[] = {{"any", AuthType::Any},
                                                                {"trust", AuthType::Trust},
                                                                {"plain", AuthType::Plain},
                                                                {"md5", AuthType::Md5},
                                                                {"scram-sha-256", AuthType::ScramSha256},
                                                                {"cert", AuthType::Cert},
                                                                {"hba", AuthType::Hba},
                                                                {"pam", AuthType::Pam},
                                                                {"ldap", AuthType::Ldap}};
constexpr std::pair<std::string_view, SslMode> kSslModes[] = {
    {"disable", SslMode::Disable}, {"allow", SslMode::Allow},        {"prefer", SslMode::Prefer},
    {"require", SslMode::Require}, {"verify-ca", SslMode::VerifyCa}, {"verify-full", SslMode::VerifyFull}};
constexpr std::pair<std::string_view, LoadBalance> kLoadBalances[] = {{"round-robin", LoadBalance::RoundRobin},
                                                                      {"disable", LoadBalance::Disable}};

template <class E>
std::string_view name_of(E wanted) {
  for (const auto& [name, value] : names_of<E>()) {
    if (value == wanted) return name;
  }
  return "?";
}

}  // namespace

template <>
std::span<const std::pair<std::string_view, PoolMode>> names_of() {
  return kPoolModes;
}
template <>
std::span<const std::pair<std::string_view, AuthType>> names_of() {
  return kAuthTypes;
}
template <>
std::span<const std::pair<std::string_view, SslMode>> names_of() {
  return kSslModes;
}
template <>
std::span<const std::pair<std::string_view, LoadBalance>> names_of() {
  return kLoadBalances;
}

std::string_view to_string(PoolMode mode) { return name_of(mode); }
std::string_view to_string(AuthType type) {
  if (type == AuthType::Peer) return "peer";
  if (type == AuthType::Reject) return "reject";
  return name_of(type);
}
std::string_view to_string(SslMode mode) { return name_of(mode); }
std::string_view to_string(LoadBalance balance) { return name_of(balance); }

Misfit not_one_of(std::string_view text, std::span<const std::string_view> names) {
  return Misfit{"is not a known value", did_you_mean(text, names)};
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [&](char x, char y) { return lower(x) == lower(y); });
}

Parsed<std::int64_t> parse_integer(std::string_view text, int base, std::int64_t min, std::int64_t max) {
  const std::string valid = min == max  ? std::string()
                            : base == 0 ? fmt::format("valid: {} to {}, decimal, 0x hexadecimal or 0 octal", min, max)
                                        : fmt::format("valid: {} to {}", min, max);
  std::string_view digits = text;
  bool negative = false;
  if (!digits.empty() && (digits[0] == '-' || digits[0] == '+')) {
    negative = digits[0] == '-';
    digits.remove_prefix(1);
  }
  if (base == 0) {
    base = 10;
    if (digits.size() > 2 && digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X')) {
      base = 16;
      digits.remove_prefix(2);
    } else if (digits.size() > 1 && digits[0] == '0') {
      base = 8;
      digits.remove_prefix(1);
    }
  }
  std::uint64_t number = 0;
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), number, base);
  if (problem == std::errc::invalid_argument || end != digits.data() + digits.size()) {
    const bool word = equal_ignoring_case(text, "on") || equal_ignoring_case(text, "off") ||
                      equal_ignoring_case(text, "true") || equal_ignoring_case(text, "false") ||
                      equal_ignoring_case(text, "yes") || equal_ignoring_case(text, "no");
    if (text.empty()) return misfit("has no value", valid);
    return misfit("is not a whole number", word ? "write 1 for on and 0 for off" : valid);
  }
  constexpr auto kLargest = static_cast<std::uint64_t>(INT64_MAX);
  const bool too_large = problem == std::errc::result_out_of_range || number > kLargest;
  const std::int64_t value = too_large  ? 0
                             : negative ? -static_cast<std::int64_t>(number)
                                        : static_cast<std::int64_t>(number);
  if (too_large || value < min || value > max) return misfit("is out of range", valid);
  return value;
}

Parsed<Micros> parse_seconds(std::string_view text) {
  // 68 years. Added to any clock's time, in nanoseconds, it stays inside 64 bits.
  constexpr double kLongest = 2147483647;
  const std::string valid = "valid: seconds without a unit, such as 30 or 0.5, up to 2147483647";
  if (text.empty()) return misfit("has no value", valid);
  std::string_view digits = text;
  if (digits.size() > 1 && digits[0] == '+' && digits[1] != '-') digits.remove_prefix(1);
  double seconds = 0;
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), seconds);
  if (problem == std::errc::invalid_argument || end != digits.data() + digits.size() || std::isnan(seconds)) {
    return misfit("is not a number of seconds", valid);
  }
  if (seconds < 0) return misfit("is negative", valid);
  if (problem == std::errc::result_out_of_range || seconds > kLongest) return misfit("is out of range", valid);
  return Micros(std::llround(seconds * 1e6));
}

std::string seconds_text(Micros time) { return fmt::format("{:g}", static_cast<double>(time.count()) / 1e6); }

std::vector<std::string> parse_list(std::string_view text) {
  constexpr std::string_view kSeparators = ", \t\r\v\f\n";
  std::vector<std::string> list;
  std::size_t at = 0;
  while ((at = text.find_first_not_of(kSeparators, at)) != std::string_view::npos) {
    const std::size_t end = std::min(text.find_first_of(kSeparators, at), text.size());
    list.emplace_back(text.substr(at, end - at));
    at = end;
  }
  return list;
}

}  // namespace pgvigil::poolcfg
