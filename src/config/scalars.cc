#include "config/scalars.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>

namespace pgvigil::config {

namespace {

std::string lowered(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](unsigned char c) { return std::tolower(c); });
  return result;
}

struct UnitSize {
  std::string_view name;
  double size;  // in microseconds or bytes
};
constexpr UnitSize kTimes[] = {{"us", 1}, {"ms", 1e3}, {"s", 1e6}, {"min", 60e6}, {"h", 3600e6}, {"d", 86400e6}};
constexpr UnitSize kSizes[] = {{"B", 1}, {"kB", 1024}, {"MB", 1048576}, {"GB", 1073741824}, {"TB", 1099511627776.0}};

// The size of "MB", or of "8kB"; time and memory are told apart by `table`.
template <std::size_t N>
std::optional<double> size_of(const UnitSize (&table)[N], std::string_view unit) {
  double factor = 1;
  std::size_t digits = 0;
  while (digits < unit.size() && std::isdigit(static_cast<unsigned char>(unit[digits])) != 0) ++digits;
  if (digits > 6) return std::nullopt;
  if (digits > 0) factor = std::atof(std::string(unit.substr(0, digits)).c_str());
  for (const UnitSize& known : table) {
    if (known.name == unit.substr(digits)) return factor * known.size;
  }
  return std::nullopt;
}

struct NumberAndUnit {
  double number = 0;
  std::string_view unit;
};

std::optional<NumberAndUnit> split_number(std::string_view text) {
  text = trimmed(text);
  std::size_t length = 0;
  while (length < text.size() && (std::isdigit(static_cast<unsigned char>(text[length])) != 0 || text[length] == '.' ||
                                  (length == 0 && (text[length] == '-' || text[length] == '+')))) {
    ++length;
  }
  const std::string digits(text.substr(0, length));
  if (digits.find_first_of("0123456789") == std::string::npos) return std::nullopt;
  char* end = nullptr;
  const double number = std::strtod(digits.c_str(), &end);
  if (*end != '\0') return std::nullopt;
  return NumberAndUnit{number, trimmed(text.substr(length))};
}

std::optional<std::int64_t> whole(double number) {
  number = std::nearbyint(number);
  if (!(std::abs(number) < 9.2e18)) return std::nullopt;
  return static_cast<std::int64_t>(number);
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0 || port > 65535) return std::nullopt;
  return static_cast<std::uint16_t>(port);
}

bool usable_host(std::string_view host) {
  return std::none_of(host.begin(), host.end(), [](unsigned char c) {
    return std::isspace(c) != 0 || std::iscntrl(c) != 0 || c == '/' || c == '[' || c == ']' || c == '"' || c == '\'';
  });
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      result += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    unsigned byte = 0;
    const auto [end, error] = std::from_chars(text.data() + i + 1, text.data() + i + 3, byte, 16);
    if (error != std::errc() || end != text.data() + i + 3) return std::nullopt;
    result += static_cast<char>(byte);
    i += 2;
  }
  return result;
}

}  // namespace

std::optional<bool> parse_boolean(std::string_view text) {
  const std::string word = lowered(trimmed(text));
  if (word == "on" || word == "true" || word == "yes" || word == "1") return true;
  if (word == "off" || word == "false" || word == "no" || word == "0") return false;
  return std::nullopt;
}

std::optional<std::int64_t> parse_yaml_integer(std::string_view text) {
  bool negative = false;
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) {
    negative = text.front() == '-';
    text.remove_prefix(1);
  }
  if (text.empty() || std::isdigit(static_cast<unsigned char>(text.front())) == 0) return std::nullopt;
  int base = 10;
  if (text.starts_with("0x")) {
    base = 16;
    text.remove_prefix(2);
  } else if (text.starts_with("0b")) {
    base = 2;
    text.remove_prefix(2);
  } else if (text.size() > 1 && text.front() == '0') {
    base = 8;
    text.remove_prefix(1);
  }
  std::string digits;
  std::copy_if(text.begin(), text.end(), std::back_inserter(digits), [](char c) { return c != '_'; });
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number, base);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size() || digits.front() == '-') {
    return std::nullopt;
  }
  return negative ? -number : number;
}

std::optional<std::int64_t> parse_number(std::string_view text, Unit unit) {
  switch (unit) {
    case Unit::Plain: {
      const auto parts = split_number(text);
      if (!parts || !parts->unit.empty()) return std::nullopt;
      return whole(parts->number);
    }
    case Unit::Seconds: return parse_in_unit(text, "s");
    case Unit::Bytes: return parse_in_unit(text, "B");
  }
  return std::nullopt;
}

std::optional<std::int64_t> parse_in_unit(std::string_view text, std::string_view base) {
  const auto parts = split_number(text);
  if (!parts) return std::nullopt;
  if (parts->unit.empty()) return whole(parts->number);
  if (const auto divisor = size_of(kTimes, base)) {
    const auto factor = size_of(kTimes, parts->unit);
    if (!factor || std::isdigit(static_cast<unsigned char>(parts->unit.front())) != 0) return std::nullopt;
    return whole(parts->number * *factor / *divisor);
  }
  if (const auto divisor = size_of(kSizes, base)) {
    const auto factor = size_of(kSizes, parts->unit);
    if (!factor || std::isdigit(static_cast<unsigned char>(parts->unit.front())) != 0) return std::nullopt;
    return whole(parts->number * *factor / *divisor);
  }
  return std::nullopt;
}

std::optional<HostPort> parse_host_port(std::string_view text, std::uint16_t default_port) {
  text = trimmed(text);
  if (text.empty()) return std::nullopt;
  std::string_view host = text, port;
  bool has_port = false;
  if (text.front() == '[') {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos || close == 1) return std::nullopt;
    host = text.substr(1, close - 1);
    const std::string_view rest = text.substr(close + 1);
    if (!rest.empty() && rest.front() != ':') return std::nullopt;
    has_port = !rest.empty();
    port = has_port ? rest.substr(1) : rest;
  } else if (const std::size_t colon = text.rfind(':'); colon != std::string_view::npos) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    has_port = true;
  }
  if (!usable_host(host) || host.find(',') != std::string_view::npos) return std::nullopt;
  if (!has_port) {
    if (default_port == 0) return std::nullopt;
    return HostPort{std::string(host), default_port};
  }
  const auto number = parse_port(port);
  if (!number) return std::nullopt;
  return HostPort{std::string(host), *number};
}

std::optional<ListenAddresses> parse_listen(std::string_view text, std::uint16_t default_port) {
  text = trimmed(text);
  if (text.empty()) return std::nullopt;
  ListenAddresses result;
  result.port = default_port;
  const std::size_t colon = text.rfind(':');
  const std::size_t bracket = text.rfind(']');
  std::string_view hosts = text;
  if (colon != std::string_view::npos && (bracket == std::string_view::npos || bracket < colon)) {
    const auto port = parse_port(text.substr(colon + 1));
    if (!port) return std::nullopt;
    result.port = *port;
    hosts = text.substr(0, colon);
  }
  for (std::string& host : split_commas(hosts)) {
    if (host.size() > 1 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
    if (!usable_host(host)) return std::nullopt;
    result.addresses.push_back(std::move(host));
  }
  if (result.addresses.empty()) {
    if (!hosts.empty()) return std::nullopt;
    result.addresses.emplace_back("*");
  }
  return result;
}

std::string to_string(const HostPort& address) {
  const bool v6 = address.host.find(':') != std::string::npos;
  return fmt::format("{}{}{}:{}", v6 ? "[" : "", address.host, v6 ? "]" : "", address.port);
}

std::optional<Url> parse_url(std::string_view text, std::uint16_t default_port) {
  text = trimmed(text);
  Url url;
  const std::size_t mark = text.find("://");
  if (mark == std::string_view::npos || mark == 0) return std::nullopt;
  url.scheme = lowered(text.substr(0, mark));
  text.remove_prefix(mark + 3);
  if (const std::size_t slash = text.find('/'); slash != std::string_view::npos) {
    url.path = std::string(text.substr(slash + 1));
    text = text.substr(0, slash);
  }
  if (const std::size_t at = text.rfind('@'); at != std::string_view::npos) {
    const std::string_view user = text.substr(0, at);
    const std::size_t colon = user.find(':');
    const auto name = percent_decoded(user.substr(0, colon));
    const auto password = percent_decoded(colon == std::string_view::npos ? "" : user.substr(colon + 1));
    if (!name || !password) return std::nullopt;
    url.username = *name;
    url.password = Secret(*password);
    text.remove_prefix(at + 1);
  }
  const auto address = parse_host_port(text, default_port);
  if (!address || address->host.empty()) return std::nullopt;
  url.address = *address;
  return url;
}

std::string_view trimmed(std::string_view text) {
  const auto space = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
  while (!text.empty() && space(text.front())) text.remove_prefix(1);
  while (!text.empty() && space(text.back())) text.remove_suffix(1);
  return text;
}

std::vector<std::string> split_commas(std::string_view text) {
  std::vector<std::string> parts;
  while (true) {
    const std::size_t comma = text.find(',');
    const std::string_view part = trimmed(text.substr(0, comma));
    if (!part.empty()) parts.emplace_back(part);
    if (comma == std::string_view::npos) return parts;
    text.remove_prefix(comma + 1);
  }
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string text;
  for (const std::string& part : parts) {
    if (!text.empty()) text += separator;
    text += part;
  }
  return text;
}

bool is_loopback(std::string_view host) { return host == "localhost" || host == "::1" || host.starts_with("127."); }

bool is_wildcard(std::string_view host) { return host.empty() || host == "*" || host == "0.0.0.0" || host == "::"; }

}  // namespace pgvigil::config
