#include "config/changes.h"

#include <fmt/format.h>

#include <map>

#include "config/secrets.h"
#include "config/value.h"

namespace pgvigil::config {
namespace {

using Flat = std::map<std::string, std::string>;

void flatten(const Value& value, const std::string& path, Flat& flat) {
  if (value.is_map() && !value.entries.empty()) {
    for (const auto& entry : value.entries)
      flatten(entry.value, path.empty() ? entry.key : path + "." + entry.key, flat);
  } else if (value.is_scalar()) {
    flat[path] = value.text;
  } else if (!path.empty()) {
    flat[path] = to_json(value);
  }
}

Flat flat_of(const Value& value) {
  Flat flat;
  flatten(value, "", flat);
  return flat;
}

}  // namespace

std::vector<std::string> changes_between(const std::string& before_json, const std::string& after_json) {
  const auto parsed = [](const std::string& json) {
    auto value = parse_json(json);
    return value && value->is_map() ? *value : Value::map();
  };
  const Value before = parsed(before_json), after = parsed(after_json);
  Value before_shown = before, after_shown = after;
  hide_secrets(before_shown);
  hide_secrets(after_shown);
  const Flat old_values = flat_of(before), new_values = flat_of(after);
  const Flat old_texts = flat_of(before_shown), new_texts = flat_of(after_shown);
  Flat all = old_values;
  all.insert(new_values.begin(), new_values.end());
  std::vector<std::string> lines;
  for (const auto& [path, ignored] : all) {
    const auto was = old_values.find(path), is = new_values.find(path);
    if (was != old_values.end() && is != new_values.end() && was->second == is->second) continue;
    lines.push_back(fmt::format("{}: {} -> {}", path, was == old_values.end() ? "(none)" : old_texts.at(path),
                                is == new_values.end() ? "(none)" : new_texts.at(path)));
  }
  return lines;
}

}  // namespace pgvigil::config
