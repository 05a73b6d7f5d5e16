#include "config/server_parameters.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <optional>

#include "config/scalars.h"

namespace pgvigil::config {
namespace {

constexpr std::string_view kBooleans[] = {"on", "off", "true", "false", "yes", "no", "1", "0"};
constexpr std::string_view kUnits[] = {"B", "kB", "MB", "GB", "TB", "us", "ms", "s", "min", "h", "d"};

std::string lowered(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](unsigned char c) { return std::tolower(c); });
  return result;
}

// PostgreSQL takes unique beginnings too: "tr" is true.
bool is_boolean(const std::string& text) {
  const std::string word = lowered(text);
  if (word.empty() || word == "o") return false;
  return std::any_of(std::begin(kBooleans), std::end(kBooleans),
                     [&](std::string_view whole) { return whole.substr(0, word.size()) == word; });
}

struct Number {
  double value = 0;
  std::string_view unit;
};

std::optional<Number> number_of(const std::string& text) {
  char* end = nullptr;
  Number number;
  number.value = std::strtod(text.c_str(), &end);
  if (end == text.c_str()) return std::nullopt;
  number.unit = trimmed(std::string_view(text).substr(static_cast<std::size_t>(end - text.c_str())));
  return number;
}

// What is wrong with the value; empty: nothing that can be told without the server.
std::string wrong(const ServerParameter& parameter, const std::string& text) {
  using Type = ServerParameter::Type;
  if (parameter.type == Type::Boolean) return is_boolean(text) ? "" : "expected on or off";
  if (parameter.type == Type::Text) return {};
  const auto number = number_of(text);
  if (!number) return "expected a number";
  if (number->unit.empty()) {
    const double smallest = std::strtod(parameter.smallest.c_str(), nullptr);
    const double largest = std::strtod(parameter.largest.c_str(), nullptr);
    if (number->value >= smallest && number->value <= largest) return {};
    return fmt::format("expected {} to {}", parameter.smallest, parameter.largest);
  }
  if (std::find(std::begin(kUnits), std::end(kUnits), number->unit) != std::end(kUnits)) return {};
  return fmt::format("\"{}\" is no unit, expected B, kB, MB, GB, TB, us, ms, s, min, h or d", number->unit);
}

}  // namespace

std::vector<ServerParameter> parse_described(std::string_view output) {
  using Type = ServerParameter::Type;
  std::vector<ServerParameter> result;
  while (!output.empty()) {
    const auto end = output.find('\n');
    std::string_view line = output.substr(0, end);
    output.remove_prefix(end == std::string_view::npos ? output.size() : end + 1);
    // name, context, group, type, default, smallest, largest, descriptions
    std::vector<std::string_view> fields;
    for (;;) {
      const auto tab = line.find('\t');
      fields.push_back(line.substr(0, tab));
      if (tab == std::string_view::npos) break;
      line.remove_prefix(tab + 1);
    }
    if (fields.size() < 7 || fields[0].empty()) continue;
    ServerParameter parameter;
    parameter.name = fields[0];
    parameter.type = fields[3] == "BOOLEAN"   ? Type::Boolean
                     : fields[3] == "INTEGER" ? Type::Integer
                     : fields[3] == "REAL"    ? Type::Real
                                              : Type::Text;
    parameter.smallest = fields[5];
    parameter.largest = fields[6];
    result.push_back(std::move(parameter));
  }
  return result;
}

void check_server_parameters(const Value& parameters, const std::string& path,
                             const std::vector<ServerParameter>& known, Problems& problems) {
  if (!parameters.is_map() || known.empty()) return;
  std::vector<std::string> names;
  for (const auto& parameter : known) names.push_back(parameter.name);
  for (const auto& entry : parameters.entries) {
    if (entry.key.find('.') != std::string::npos || !entry.value.is_scalar()) continue;
    const std::string name = lowered(entry.key);
    const auto found = std::find_if(known.begin(), known.end(),
                                    [&](const auto& parameter) { return lowered(parameter.name) == name; });
    const std::string where = path + "." + entry.key;
    if (found != known.end()) {
      if (const auto what = wrong(*found, entry.value.text); !what.empty()) {
        problems.push_back({Problem::Severity::Error, entry.value.where, where, entry.value.text, what, ""});
      }
    } else if (const auto near = nearest_match(entry.key, names)) {
      // The list leaves out what is meant for developers, so that a name without a neighbour may well exist.
      problems.push_back(
          {Problem::Severity::Warning, entry.where, where, "", "not in the server's list of parameters",
           fmt::format("did you mean \"{}\"? PostgreSQL does not start with a name that it does not know", *near)});
    }
  }
}

}  // namespace pgvigil::config
