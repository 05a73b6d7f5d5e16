#include <cctype>
#include <cstdio>
#include <ctime>

#include "dcs/member_json.h"

namespace pgvigil::dcs {
namespace {

std::optional<std::chrono::seconds> parse_offset(const std::string& text) {
  if (text == "Z" || text == "z") return std::chrono::seconds(0);
  if (text.size() < 3 || (text[0] != '+' && text[0] != '-')) return std::nullopt;
  int hours = 0;
  int minutes = 0;
  const bool colon = text.find(':') != std::string::npos;
  const int read = std::sscanf(text.c_str() + 1, colon ? "%2d:%2d" : "%2d%2d", &hours, &minutes);
  if (read < 1 || hours > 23 || minutes > 59) return std::nullopt;
  const std::chrono::seconds offset(hours * 3600 + minutes * 60);
  return text[0] == '-' ? -offset : offset;
}

}  // namespace

std::optional<WallTime> parse_iso8601(const std::string& text) {
  std::tm when{};
  int used = 0;
  char separator = 0;
  if (std::sscanf(text.c_str(), "%4d-%2d-%2d%c%2d:%2d%n", &when.tm_year, &when.tm_mon, &when.tm_mday, &separator,
                  &when.tm_hour, &when.tm_min, &used) != 6 ||
      (separator != 'T' && separator != ' ')) {
    return std::nullopt;
  }
  std::size_t at = static_cast<std::size_t>(used);
  std::int64_t micros = 0;
  if (at < text.size() && text[at] == ':') {
    if (std::sscanf(text.c_str() + at, ":%2d%n", &when.tm_sec, &used) != 1) return std::nullopt;
    at += static_cast<std::size_t>(used);
    if (at < text.size() && text[at] == '.') {
      std::int64_t unit = 100000;
      for (++at; at < text.size() && std::isdigit(static_cast<unsigned char>(text[at])) != 0; ++at, unit /= 10) {
        micros += (text[at] - '0') * unit;
      }
    }
  }
  if (when.tm_mon < 1 || when.tm_mon > 12 || when.tm_mday < 1 || when.tm_mday > 31 || when.tm_hour > 23 ||
      when.tm_min > 59 || when.tm_sec > 60) {
    return std::nullopt;
  }
  const auto offset = parse_offset(text.substr(at));
  if (!offset) return std::nullopt;
  when.tm_year -= 1900;
  when.tm_mon -= 1;
  const std::time_t seconds = timegm(&when);
  return WallTime(std::chrono::seconds(seconds) - *offset + std::chrono::microseconds(micros));
}

}  // namespace pgvigil::dcs
