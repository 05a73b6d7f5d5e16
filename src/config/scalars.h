// Texts of single values: booleans, numbers with units, addresses. Patroni accepts the same spellings.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/secret.h"
#include "config/agent_config.h"

namespace pgvigil::config {

// on/true/yes/1 and off/false/no/0, any case.
std::optional<bool> parse_boolean(std::string_view text);

// A YAML 1.1 integer: sign, decimal, 0 octal, 0x, 0b, underscores between digits.
std::optional<std::int64_t> parse_yaml_integer(std::string_view text);

// Decimal, with or without a unit; a fraction is rounded to the nearest whole (halves to even, as PostgreSQL's rint).
enum class Unit : std::uint8_t { Plain, Seconds, Bytes };
// Seconds: us, ms, s, min, h, d. Bytes: B, kB, MB, GB, TB (powers of 1024). Units are case-sensitive, as PostgreSQL's.
std::optional<std::int64_t> parse_number(std::string_view text, Unit unit);

// The same for a parameter measured in units of `base` ("kB", "8kB", "MB", "ms", ...): "1GB" in "MB" is 1024.
std::optional<std::int64_t> parse_in_unit(std::string_view text, std::string_view base);

// "host:port", "[v6]:port", ":port"; without a port `default_port` (0: a port is required). The last colon counts.
std::optional<HostPort> parse_host_port(std::string_view text, std::uint16_t default_port = 0);

// "host:port"; an IPv6 address stands in brackets.
std::string to_string(const HostPort& address);

struct ListenAddresses {
  std::vector<std::string> addresses;
  std::uint16_t port = 0;
};
std::optional<ListenAddresses> parse_listen(std::string_view text, std::uint16_t default_port);

struct Url {
  std::string scheme, username;
  Secret password;
  HostPort address;
  std::string path;  // without the leading slash
};
std::optional<Url> parse_url(std::string_view text, std::uint16_t default_port);

std::string_view trimmed(std::string_view text);
std::vector<std::string> split_commas(std::string_view text);  // trimmed, empty parts left out
std::string join(const std::vector<std::string>& parts, std::string_view separator);

bool is_loopback(std::string_view host);  // localhost, 127.0.0.0/8, ::1
bool is_wildcard(std::string_view host);  // "", *, 0.0.0.0, ::

}  // namespace pgvigil::config
