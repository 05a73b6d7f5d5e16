#include "config/value.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <utility>

#include "config/scalars.h"

namespace pgvigil::config {

namespace {

using Json = nlohmann::ordered_json;
constexpr int kDeepest = 100;  // recursion below follows the document

bool one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

bool looks_like_float(std::string_view text) {
  if (!text.empty() && (text.front() == '+' || text.front() == '-')) text.remove_prefix(1);
  if (one_of(text, {".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"})) return false;  // JSON has none: keep the text
  bool digit = false, point = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (std::isdigit(static_cast<unsigned char>(c)) != 0) {
      digit = true;
    } else if (c == '.' && !point) {
      point = true;
    } else if ((c == 'e' || c == 'E') && digit && point) {
      std::string_view exponent = text.substr(i + 1);
      if (exponent.empty() || (exponent.front() != '+' && exponent.front() != '-')) return false;
      exponent.remove_prefix(1);
      return !exponent.empty() &&
             std::all_of(exponent.begin(), exponent.end(), [](unsigned char d) { return std::isdigit(d) != 0; });
    } else {
      return false;
    }
  }
  return digit && point;
}

Json scalar_to_json(const Value& value) {
  switch (scalar_type(value)) {
    case ScalarType::Null: return nullptr;
    case ScalarType::Boolean: return parse_boolean(value.text).value_or(false);
    case ScalarType::Integer:
      if (const auto number = parse_yaml_integer(value.text)) return *number;
      return value.text;
    case ScalarType::Float: return std::strtod(value.text.c_str(), nullptr);
    case ScalarType::Text: break;
  }
  return value.text;
}

Json convert(const Value& value) {
  switch (value.type) {
    case Value::Type::Null: return nullptr;
    case Value::Type::Scalar: return scalar_to_json(value);
    case Value::Type::List: {
      Json list = Json::array();
      for (const Value& item : value.items) list.push_back(convert(item));
      return list;
    }
    case Value::Type::Map: break;
  }
  Json map = Json::object();
  for (const Value::Entry& entry : value.entries) map[entry.key] = convert(entry.value);
  return map;
}

Result<Value> convert(const Json& json, int depth) {
  if (depth > kDeepest) {
    return fail(Errc::InvalidConfig, "cannot use the JSON text", "", "it is nested deeper than 100 levels");
  }
  if (json.is_null()) return Value{};
  if (json.is_string()) return Value::scalar(json.get<std::string>());
  if (json.is_object()) {
    Value map = Value::map();
    for (const auto& [key, item] : json.items()) {
      PGV_TRY(value, convert(item, depth + 1));
      map.entries.push_back({key, {}, std::move(value)});
    }
    return map;
  }
  if (json.is_array()) {
    Value list = Value::list({});
    for (const Json& item : json) {
      PGV_TRY(value, convert(item, depth + 1));
      list.items.push_back(std::move(value));
    }
    return list;
  }
  return Value::scalar(json.dump(), {}, false);
}

}  // namespace

Value Value::scalar(std::string text, SourceLocation where, bool string) {
  Value value;
  value.type = Type::Scalar;
  value.text = std::move(text);
  value.string = string;
  value.where = std::move(where);
  return value;
}

Value Value::map(SourceLocation where) {
  Value value;
  value.type = Type::Map;
  value.where = std::move(where);
  return value;
}

Value Value::list(std::vector<Value> items, SourceLocation where) {
  Value value;
  value.type = Type::List;
  value.items = std::move(items);
  value.where = std::move(where);
  return value;
}

const Value* Value::find(std::string_view key) const {
  for (const Entry& entry : entries) {
    if (entry.key == key) return &entry.value;
  }
  return nullptr;
}

Value* Value::find(std::string_view key) { return const_cast<Value*>(std::as_const(*this).find(key)); }

const Value* Value::at(std::string_view path) const {
  const Value* value = this;
  while (value != nullptr && !path.empty()) {
    const std::size_t dot = path.find('.');
    value = value->find(path.substr(0, dot));
    path = dot == std::string_view::npos ? std::string_view() : path.substr(dot + 1);
  }
  return value;
}

Value& Value::set(std::string key, Value value) {
  if (!is_map()) *this = map(where);
  if (Value* found = find(key)) {
    *found = std::move(value);
    return *found;
  }
  SourceLocation place = value.where;
  entries.push_back({std::move(key), std::move(place), std::move(value)});
  return entries.back().value;
}

Value& Value::set_at(std::string_view path, Value value) {
  const std::size_t dot = path.find('.');
  const std::string key(path.substr(0, dot));
  if (dot == std::string_view::npos) return set(key, std::move(value));
  Value* child = find(key);
  if (child == nullptr) child = &set(key, map(value.where));
  return child->set_at(path.substr(dot + 1), std::move(value));
}

bool Value::remove(std::string_view key) {
  const auto place = std::find_if(entries.begin(), entries.end(), [&](const Entry& entry) { return entry.key == key; });
  if (place == entries.end()) return false;
  entries.erase(place);
  return true;
}

void merge_over(Value& base, Value over) {
  if (!base.is_map() || !over.is_map()) {
    base = std::move(over);
    return;
  }
  for (Value::Entry& entry : over.entries) {
    if (Value* found = base.find(entry.key)) {
      merge_over(*found, std::move(entry.value));
    } else {
      base.entries.push_back(std::move(entry));
    }
  }
}

ScalarType scalar_type(const Value& value) {
  if (value.is_null()) return ScalarType::Null;
  if (value.string) return ScalarType::Text;
  const std::string& text = value.text;
  if (one_of(text, {"", "~", "null", "Null", "NULL"})) return ScalarType::Null;
  if (one_of(text, {"yes", "Yes", "YES", "no", "No", "NO", "true", "True", "TRUE", "false", "False", "FALSE", "on",
                    "On", "ON", "off", "Off", "OFF"})) {
    return ScalarType::Boolean;
  }
  if (parse_yaml_integer(text)) return ScalarType::Integer;
  return looks_like_float(text) ? ScalarType::Float : ScalarType::Text;
}

std::string to_json(const Value& value) { return convert(value).dump(-1, ' ', true, Json::error_handler_t::replace); }

Result<Value> parse_json(const std::string& text) {
  try {
    return convert(Json::parse(text), 0);
  } catch (const Json::exception& problem) {
    // "[json.exception.parse_error.101] parse error at line 1, column 3: ...": the number helps nobody.
    std::string cause = problem.what();
    if (const std::size_t end = cause.find("] "); end != std::string::npos) cause.erase(0, end + 2);
    return fail(Errc::InvalidConfig, "cannot read the JSON text", "", cause);
  }
}

}  // namespace pgvigil::config
