#include "api/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <iterator>
#include <nlohmann/json.hpp>

namespace pgvigil::api {
namespace {

bool nested_too_deep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kJsonDepthMax) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

struct Separators {
  std::string_view item, key;
};

void write_string(std::string& out, const std::string& text) {
  // The library knows UTF-8; `replace` is what makes it total.
  out += Json(text).dump(-1, ' ', true, Json::error_handler_t::replace);
}

void write(std::string& out, const Json& value, const Separators& separators) {
  if (value.is_object()) {
    out += '{';
    bool first = true;
    for (const auto& [key, item] : value.items()) {
      if (!first) out += separators.item;
      first = false;
      write_string(out, key);
      out += separators.key;
      write(out, item, separators);
    }
    out += '}';
  } else if (value.is_array()) {
    out += '[';
    bool first = true;
    for (const auto& item : value) {
      if (!first) out += separators.item;
      first = false;
      write(out, item, separators);
    }
    out += ']';
  } else if (value.is_string()) {
    write_string(out, value.get_ref<const std::string&>());
  } else {
    out += value.dump();
  }
}

}  // namespace

std::optional<Json> parse_json(std::string_view text) {
  if (nested_too_deep(text)) return std::nullopt;
  Json value = Json::parse(text.begin(), text.end(), nullptr, false);
  if (value.is_discarded()) return std::nullopt;
  return value;
}

std::optional<Json> parse_json_object(std::string_view text) {
  auto value = parse_json(text);
  if (!value || !value->is_object()) return std::nullopt;
  return value;
}

std::string dump_spaced(const Json& value) {
  std::string out;
  write(out, value, {", ", ": "});
  return out;
}

std::string dump_compact(const Json& value) {
  std::string out;
  write(out, value, {",", ":"});
  return out;
}

std::string text_of(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_boolean()) return value.get<bool>() ? "True" : "False";
  return dump_compact(value);
}

bool truthy(const Json& value) {
  if (value.is_null()) return false;
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number()) return value.get<double>() != 0;
  if (value.is_string()) return !value.get_ref<const std::string&>().empty();
  return !value.empty();
}

bool parse_switch(const Json& value) {
  if (value.is_boolean()) return value.get<bool>();
  std::string text = text_of(value);
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text == "on" || text == "true" || text == "yes" || text == "1";
}

}  // namespace pgvigil::api
