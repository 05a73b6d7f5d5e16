// What the table of settings does: text into a field and back.
#include <fmt/format.h>

#include <algorithm>

#include "poolcfg/rows.h"
#include "poolcfg/values.h"

namespace pgvigil::poolcfg {
namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (std::size_t at = 0;;) {
    const std::size_t end = std::min(text.find(separator, at), text.size());
    parts.push_back(text.substr(at, end - at));
    if (end == text.size()) return parts;
    at = end + 1;
  }
}

// One call for each type that a field may have. The result is the notice.
struct Assign {
  const Row& row;
  std::string_view text;

  [[nodiscard]] Parsed<std::int64_t> integer(std::int64_t most) const {
    constexpr std::int64_t kLeast = std::numeric_limits<int>::min();
    const bool any_sign = row.kind == Kind::Limit || row.kind == Kind::Switch;
    auto number = parse_integer(text, 0, any_sign ? kLeast : row.min, std::min(row.max, most));
    if (!number && any_sign)
      number.error().valid = row.kind == Kind::Switch ? "write 1 for on and 0 for off" : "valid: 0 to 2147483647";
    return number;
  }
  Parsed<std::string> operator()(int* field) const {
    const auto number = integer(std::numeric_limits<int>::max());
    if (!number) return tl::unexpected<Misfit>(number.error());
    const bool below = row.kind == Kind::Limit && *number < 0;
    *field = below ? 0 : static_cast<int>(*number);
    return below ? std::string("is negative: taken as 0") : std::string();
  }
  Parsed<std::string> operator()(std::uint32_t* field) const {
    const auto number = parse_integer(text, 0, row.min, row.max);
    if (!number) return tl::unexpected<Misfit>(number.error());
    *field = static_cast<std::uint32_t>(*number);
    return std::string();
  }
  Parsed<std::string> operator()(std::string* field) const {
    std::string_view chosen = text;
    if (!row.choices.empty()) {
      const auto choices = split(row.choices, '|');
      const auto found = std::find_if(choices.begin(), choices.end(),
                                      [&](std::string_view choice) { return equal_ignoring_case(choice, text); });
      if (found == choices.end()) return tl::unexpected<Misfit>(not_one_of(text, choices));
      chosen = *found;
    }
    *field = chosen;
    return std::string();
  }
  Parsed<std::string> operator()(Micros* field) const {
    const auto time = parse_seconds(text);
    if (!time) return tl::unexpected<Misfit>(time.error());
    *field = *time;
    return std::string();
  }
  Parsed<std::string> operator()(std::vector<std::string>* field) const {
    *field = parse_list(text);
    return std::string();
  }
  template <class E>
  Parsed<std::string> operator()(E* field) const {
    const auto value = parse_name<E>(text);
    if (!value) return tl::unexpected<Misfit>(value.error());
    *field = *value;
    return std::string();
  }
};

struct Print {
  std::string operator()(const int* field) const { return std::to_string(*field); }
  std::string operator()(const std::uint32_t* field) const { return std::to_string(*field); }
  std::string operator()(const std::string* field) const { return *field; }
  std::string operator()(const Micros* field) const { return seconds_text(*field); }
  std::string operator()(const std::vector<std::string>* field) const {
    return fmt::format("{}", fmt::join(*field, ", "));
  }
  template <class E>
  std::string operator()(const E* field) const {
    return std::string(to_string(*field));
  }
};

}  // namespace

const Row* find_row(std::string_view key) {
  const auto all = rows();
  const auto found = std::find_if(all.begin(), all.end(), [&](const Row& row) { return row.key == key; });
  return found == all.end() ? nullptr : &*found;
}

std::vector<std::string_view> row_keys() {
  std::vector<std::string_view> keys;
  for (const Row& row : rows()) keys.push_back(row.key);
  return keys;
}

Parsed<std::string> assign(const Row& row, Settings& settings, std::string_view value) {
  if (row.field == nullptr) return std::string("has no effect in pgvigil");
  return std::visit(Assign{row, value}, row.field(settings));
}

std::string value_text(const Row& row, Settings& settings) {
  return row.field == nullptr ? std::string() : std::visit(Print{}, row.field(settings));
}

void copy_value(const Row& row, Settings& from, Settings& to) {
  if (row.field == nullptr) return;
  const Field target = row.field(to);
  std::visit([&](auto* source) { *std::get<decltype(source)>(target) = *source; }, row.field(from));
}

std::vector<std::string> to_defaults(Settings& settings, std::set<std::string, std::less<>>& written) {
  std::vector<std::string> forgotten;
  Settings fresh;
  for (const Row& row : rows()) {
    const auto found = written.find(row.key);
    if (!row.fallback || found == written.end()) continue;
    copy_value(row, fresh, settings);
    forgotten.push_back(*found);
    written.erase(found);
  }
  return forgotten;
}

std::optional<Misfit> check_tls_protocols(std::string_view value) {
  constexpr std::string_view kNames[] = {"all", "secure", "default", "tlsv1.0", "tlsv1.1", "tlsv1.2", "tlsv1.3"};
  std::size_t at = 0;
  while (at <= value.size()) {
    const std::size_t end = std::min(value.find_first_of(",:", at), value.size());
    std::string_view name = trimmed(value.substr(at, end - at));
    if (!name.empty() && name[0] == '!') name = trimmed(name.substr(1));
    const bool known = std::any_of(std::begin(kNames), std::end(kNames),
                                   [&](std::string_view one) { return equal_ignoring_case(one, name); });
    if (!known) {
      return Misfit{fmt::format("\"{}\" is not a protocol", shown(name)),
                    fmt::format("valid: a list of {}; ! before a name removes it", fmt::join(kNames, ", "))};
    }
    at = end + 1;
  }
  return std::nullopt;
}

std::optional<Misfit> check_dhe_params(std::string_view value) {
  if (equal_ignoring_case(value, "auto") || equal_ignoring_case(value, "none")) return std::nullopt;
  return Misfit{"is not a known value", "valid: auto, none"};
}

std::optional<Misfit> check_auth_dbname(std::string_view value) {
  if (value != "pgbouncer") return std::nullopt;
  return Misfit{"is the console, which has no passwords to look up", "name a database of the server"};
}

}  // namespace pgvigil::poolcfg
