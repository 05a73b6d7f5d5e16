// How the keys of an entry take their values. Numbers are decimal here, where [pgbouncer] has C's base 0.
#pragma once

#include <limits>
#include <string>
#include <string_view>

#include "poolcfg/values.h"

namespace pgvigil::poolcfg {

constexpr std::string_view kNoNotice;

template <class Entry, auto member>
Parsed<std::string> take_text(Entry& entry, std::string_view value) {
  entry.*member = std::string(value);
  return std::string(kNoNotice);
}

template <class Entry, auto member>
Parsed<std::string> take_port(Entry& entry, std::string_view value) {
  const auto number = parse_integer(value, 10, 1, 65535);
  if (!number) return tl::unexpected<Misfit>(number.error());
  entry.*member = static_cast<int>(*number);
  return std::string(kNoNotice);
}

// Values below `least` inherit, as if the key were left out.
template <class Entry, auto member, int least>
Parsed<std::string> take_count(Entry& entry, std::string_view value) {
  const auto number = parse_integer(value, 10, std::numeric_limits<int>::min(), std::numeric_limits<int>::max());
  if (!number) return tl::unexpected<Misfit>(number.error());
  (entry.*member).reset();
  if (*number >= least) entry.*member = static_cast<int>(*number);
  return std::string(kNoNotice);
}

template <class Entry, auto member>
Parsed<std::string> take_mode(Entry& entry, std::string_view value) {
  const auto mode = parse_name<PoolMode>(value);
  if (!mode) return tl::unexpected<Misfit>(mode.error());
  entry.*member = *mode;
  return std::string(kNoNotice);
}

// 0 and negative numbers inherit.
template <class Entry, auto member>
Parsed<std::string> take_time(Entry& entry, std::string_view value) {
  (entry.*member).reset();
  if (!value.empty() && value[0] == '-' && parse_seconds(value.substr(1))) return std::string(kNoNotice);
  const auto time = parse_seconds(value);
  if (!time) return tl::unexpected<Misfit>(time.error());
  if (*time > Micros(0)) entry.*member = *time;
  return std::string(kNoNotice);
}

// query_wait_timeout: 0 and negative numbers are no limit.
template <class Entry, auto member>
Parsed<std::string> take_time_or_off(Entry& entry, std::string_view value) {
  if (!value.empty() && value[0] == '-' && parse_seconds(value.substr(1))) {
    entry.*member = Micros(0);
    return std::string("is negative: taken as 0, no limit");
  }
  const auto time = parse_seconds(value);
  if (!time) return tl::unexpected<Misfit>(time.error());
  entry.*member = *time;
  return std::string(kNoNotice);
}

}  // namespace pgvigil::poolcfg
