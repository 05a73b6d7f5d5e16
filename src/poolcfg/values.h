// One value's text: numbers, seconds, lists, names of enumerations, and back.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "poolcfg/misfit.h"
#include "poolcfg/settings.h"

namespace pgvigil::poolcfg {

// Base 0 is C's: 0x hexadecimal, leading 0 octal, else decimal. The bounds are inclusive.
Parsed<std::int64_t> parse_integer(std::string_view text, int base, std::int64_t min, std::int64_t max);
// Decimal seconds without a unit, fractions allowed.
Parsed<Micros> parse_seconds(std::string_view text);
// As printf's %g of seconds.
std::string seconds_text(Micros time);
// Separated by commas or blanks.
std::vector<std::string> parse_list(std::string_view text);

std::string_view trimmed(std::string_view text);
bool equal_ignoring_case(std::string_view a, std::string_view b);

template <class E>
std::span<const std::pair<std::string_view, E>> names_of();
template <>
std::span<const std::pair<std::string_view, PoolMode>> names_of();
template <>
std::span<const std::pair<std::string_view, AuthType>> names_of();
template <>
std::span<const std::pair<std::string_view, SslMode>> names_of();
template <>
std::span<const std::pair<std::string_view, LoadBalance>> names_of();
template <>
std::span<const std::pair<std::string_view, ServerRole>> names_of();
template <>
std::span<const std::pair<std::string_view, ReplicaFallback>> names_of();

Misfit not_one_of(std::string_view text, std::span<const std::string_view> names);

template <class E>
std::vector<std::string_view> name_list() {
  std::vector<std::string_view> names;
  for (const auto& [name, value] : names_of<E>()) names.push_back(name);
  return names;
}

template <class E>
Parsed<E> parse_name(std::string_view text) {
  for (const auto& [name, value] : names_of<E>()) {
    if (equal_ignoring_case(text, name)) return value;
  }
  return tl::unexpected<Misfit>(not_one_of(text, name_list<E>()));
}

}  // namespace pgvigil::poolcfg
