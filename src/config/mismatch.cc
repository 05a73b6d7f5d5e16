// Single values against their row of the table of settings.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "config/scalars.h"
#include "config/validate.h"

namespace pgvigil::config {

namespace {

using Found = std::optional<Expectation>;

std::vector<std::string> choices_of(const Setting& setting) {
  std::string text(setting.choices);
  std::replace(text.begin(), text.end(), '|', ',');
  return split_commas(text);
}

bool same_word(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

Found check_choice(const Setting& setting, const Value& value) {
  const std::vector<std::string> choices = choices_of(setting);
  const bool known = value.is_scalar() && std::any_of(choices.begin(), choices.end(), [&](const auto& choice) {
                       return same_word(choice, value.text);
                     });
  if (known) return std::nullopt;
  return Expectation{"expected one of " + join(choices, ", "), ""};
}

bool all_scalars(const Value& list) {
  return std::all_of(list.items.begin(), list.items.end(), [](const Value& item) { return item.is_scalar(); });
}

Found check_list(const Setting& setting, const Value& value) {
  if (value.is_scalar() || (value.is_list() && all_scalars(value))) return std::nullopt;
  if (setting.kind == Kind::Lines) return Expectation{"expected a list of lines", "each after a \"- \""};
  return Expectation{"expected a list", "for example [a, b] or \"a, b\""};
}

Found check_endpoints(const Value& value) {
  if (value.is_scalar() && !split_commas(value.text).empty()) {
    for (const std::string& part : split_commas(value.text)) {
      if (!parse_host_port(part, 2379)) return Expectation{"expected a list of host:port", "for example 10.0.0.1:2379"};
    }
    return std::nullopt;
  }
  const bool good = value.is_list() && !value.items.empty() && all_scalars(value) &&
                    std::all_of(value.items.begin(), value.items.end(),
                                [](const Value& item) { return parse_host_port(item.text, 2379).has_value(); });
  if (good) return std::nullopt;
  return Expectation{"expected a list of host:port", "for example [10.0.0.1:2379, 10.0.0.2:2379]"};
}

Found check_map(const Setting& setting, const Value& value) {
  const bool good = value.is_map() && std::none_of(value.entries.begin(), value.entries.end(), [](const auto& entry) {
                      return entry.value.is_list() || entry.value.is_map();
                    });
  if (good) return std::nullopt;
  if (setting.kind == Kind::Parameters) {
    return Expectation{"expected a map of parameters", "for example work_mem: 64MB, indented below"};
  }
  return Expectation{"expected a map", "for example name: value, indented below"};
}

bool is_option(const Value& item) {
  if (item.is_scalar()) return !item.text.empty();
  return item.is_map() && item.entries.size() == 1 && !item.entries[0].value.is_list() &&
         !item.entries[0].value.is_map();
}

Found check_options(const Value& value) {
  const bool list = value.is_list() && std::all_of(value.items.begin(), value.items.end(), is_option);
  const bool map = value.is_map() && std::none_of(value.entries.begin(), value.entries.end(), [](const auto& entry) {
                     return entry.value.is_list() || entry.value.is_map();
                   });
  if (list || map) return std::nullopt;
  return Expectation{"expected a list of options", "for example [data-checksums, {encoding: UTF8}]"};
}

Found check_scalar(const Setting& setting, const Value& value) {
  if (!value.is_scalar()) return Expectation{"expected a single value", "not a list or a section"};
  switch (setting.kind) {
    case Kind::Boolean:
      if (parse_boolean(value.text)) return std::nullopt;
      return Expectation{"expected on or off", "also true, yes, 1, false, no, 0"};
    case Kind::Integer:
      if (parse_number(value.text, Unit::Plain)) return std::nullopt;
      return Expectation{"expected a whole number", ""};
    case Kind::Seconds:
      if (parse_number(value.text, Unit::Seconds)) return std::nullopt;
      return Expectation{"expected a number of seconds", "for example 30 or 5min (units: ms, s, min, h, d)"};
    case Kind::Bytes:
      if (parse_number(value.text, Unit::Bytes)) return std::nullopt;
      return Expectation{"expected a number of bytes", "for example 1048576 or 1MB (units: B, kB, MB, GB, TB)"};
    case Kind::Address:
      if (parse_host_port(value.text)) return std::nullopt;
      return Expectation{"expected host:port", setting.path == "restapi.listen"      ? "for example 0.0.0.0:8008"
                                               : setting.path.starts_with("restapi") ? "for example 10.0.0.1:8008"
                                                                                     : "for example 10.0.0.1:5432"};
    case Kind::Listen:
      if (parse_listen(value.text, 5432)) return std::nullopt;
      return Expectation{"expected address[,address]:port", "for example 0.0.0.0:5432"};
    case Kind::Endpoint:
      if (parse_host_port(value.text, 2379)) return std::nullopt;
      return Expectation{"expected host:port", "for example 10.0.0.1:2379"};
    case Kind::Url: {
      const auto url = parse_url(value.text, 2379);
      if (url && (url->scheme == "http" || url->scheme == "https")) return std::nullopt;
      return Expectation{"expected a URL", "for example https://10.0.0.1:2379"};
    }
    default: return std::nullopt;
  }
}

}  // namespace

Found mismatch(const Setting& setting, const Value& value) {
  if (value.is_null()) return std::nullopt;  // as if it were not there
  switch (setting.kind) {
    case Kind::Free: return std::nullopt;
    case Kind::Section:
      if (value.is_map()) return std::nullopt;
      return Expectation{"expected a section", "its keys stand below it, indented"};
    case Kind::Choice: return check_choice(setting, value);
    case Kind::Endpoints: return check_endpoints(value);
    case Kind::TextList:
    case Kind::Lines: return check_list(setting, value);
    case Kind::TextMap:
    case Kind::Parameters: return check_map(setting, value);
    case Kind::Options: return check_options(value);
    default: return check_scalar(setting, value);
  }
}

std::optional<std::int64_t> number_of(const Setting& setting, const Value& value) {
  if (!value.is_scalar()) return std::nullopt;
  switch (setting.kind) {
    case Kind::Integer: return parse_number(value.text, Unit::Plain);
    case Kind::Seconds: return parse_number(value.text, Unit::Seconds);
    case Kind::Bytes: return parse_number(value.text, Unit::Bytes);
    default: return std::nullopt;
  }
}

std::optional<std::int64_t> violated_bound(const Setting& setting, const Value& value) {
  const auto number = number_of(setting, value);
  if (!number) return std::nullopt;
  if (*number < setting.min) return setting.min;
  if (*number > setting.max) return setting.max;
  return std::nullopt;
}

}  // namespace pgvigil::config
