#include "config/reader.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "config/guc_rules.h"
#include "config/scalars.h"
#include "config/settings_table.h"
#include "config/validate.h"

namespace pgvigil::config {

const Value* Reader::usable(std::string_view path) const {
  const Value* value = root_.at(path);
  if (value == nullptr || value->is_null()) return nullptr;
  const Setting* row = find_setting(path, dynamic_);
  PGV_ASSERT(row != nullptr);
  return mismatch(*row, *value) ? nullptr : value;
}

std::string_view Reader::fallback(std::string_view path) const {
  const Setting* row = find_setting(path, dynamic_);
  PGV_ASSERT(row != nullptr);
  return row->fallback;
}

std::string Reader::text(std::string_view path) const {
  const Value* value = usable(path);
  return value == nullptr ? std::string(fallback(path)) : value->text;
}

Secret Reader::secret(std::string_view path) const {
  const Value* value = usable(path);
  return value == nullptr ? Secret() : Secret(value->text);
}

bool Reader::boolean(std::string_view path) const {
  const Value* value = usable(path);
  return parse_boolean(value == nullptr ? fallback(path) : value->text).value_or(false);
}

std::int64_t Reader::number(std::string_view path) const {
  const Setting* row = find_setting(path, dynamic_);
  PGV_ASSERT(row != nullptr);
  const Value* value = usable(path);
  const auto parsed = number_of(*row, value == nullptr ? Value::scalar(std::string(row->fallback)) : *value);
  return std::clamp(parsed.value_or(0), row->min, row->max);
}

Duration Reader::seconds(std::string_view path) const { return std::chrono::seconds(number(path)); }

std::optional<HostPort> Reader::address(std::string_view path) const {
  const Value* value = usable(path);
  return value == nullptr ? std::nullopt : parse_host_port(value->text);
}

std::vector<std::string> Reader::list(std::string_view path) const {
  const Value* value = usable(path);
  if (value == nullptr) return split_commas(fallback(path));
  if (value->is_scalar()) return split_commas(value->text);
  std::vector<std::string> result;
  for (const Value& item : value->items) result.push_back(item.text);
  return result;
}

std::vector<std::string> Reader::lines(std::string_view path) const {
  const Value* value = usable(path);
  if (value == nullptr) return {};
  std::vector<std::string> result;
  std::vector<Value> items = value->is_scalar() ? std::vector<Value>{*value} : value->items;
  for (const Value& item : items) {
    std::string_view rest = item.text;
    while (!rest.empty()) {
      const std::size_t end = rest.find('\n');
      result.emplace_back(rest.substr(0, end));
      rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    }
  }
  return result;
}

std::map<std::string, std::string> Reader::map(std::string_view path) const {
  const Value* value = usable(path);
  return value == nullptr ? std::map<std::string, std::string>() : text_map(*value);
}

std::map<std::string, std::string> text_map(const Value& map) {
  std::map<std::string, std::string> result;
  for (const Value::Entry& entry : map.entries) {
    if (entry.value.is_scalar()) result[entry.key] = parameter_text(entry.value);
  }
  return result;
}

std::map<std::string, std::string> script_map(const Value& map) {
  std::map<std::string, std::string> result;
  for (const Value::Entry& entry : map.entries) {
    if (!entry.value.is_scalar()) continue;
    const bool boolean = scalar_type(entry.value) == ScalarType::Boolean;
    result[entry.key] = !boolean                                          ? entry.value.text
                        : parse_boolean(entry.value.text).value_or(false) ? "True"
                                                                          : "False";
  }
  return result;
}

std::vector<Option> read_options(const Value* value, const std::string& path,
                                 const std::vector<std::string_view>& forbidden, Problems& problems) {
  std::vector<Option> result;
  const auto add = [&](std::string name, const Value* argument, const SourceLocation& where) {
    while (name.starts_with("-")) name.erase(0, 1);
    std::optional<std::string> text;
    if (argument != nullptr && argument->is_scalar()) text = argument->text;
    if (argument != nullptr && scalar_type(*argument) == ScalarType::Boolean) {
      if (!parse_boolean(argument->text).value_or(false)) return;
      text.reset();
    }
    if (const std::size_t equals = name.find('='); equals != std::string::npos && !text) {
      text = name.substr(equals + 1);
      name.resize(equals);
    }
    if (std::find(forbidden.begin(), forbidden.end(), name) != forbidden.end()) {
      problems.push_back(
          {Problem::Severity::Warning, where, path, name, "this option may not be given", "the agent sets it itself"});
      return;
    }
    result.emplace_back(std::move(name), std::move(text));
  };
  if (value == nullptr) return result;
  for (const Value& item : value->items) {
    if (item.is_map()) {
      for (const Value::Entry& entry : item.entries) add(entry.key, &entry.value, entry.where);
    } else {
      add(item.text, nullptr, item.where);
    }
  }
  for (const Value::Entry& entry : value->entries) add(entry.key, &entry.value, entry.where);
  return result;
}

}  // namespace pgvigil::config
