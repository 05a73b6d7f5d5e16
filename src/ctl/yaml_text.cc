#include "ctl/yaml_text.h"

#include <nlohmann/json.hpp>

namespace pgvigil::ctl {
namespace {

void emit(const nlohmann::json& json, int depth, std::string& out) {
  const std::string indent(static_cast<std::size_t>(depth) * 2, ' ');
  const auto scalar = [](const nlohmann::json& value) {
    if (!value.is_string()) return value.dump();
    const auto& text = value.get_ref<const std::string&>();
    const bool odd = text.empty() || text.find_first_of(":#{}[],&*!|>'\"%@`\n\\") != std::string::npos ||
                     text.front() == ' ' || text.back() == ' ' || text.front() == '-' ||
                     text.find_first_not_of("0123456789.+-eExXoO_") == std::string::npos || text == "true" ||
                     text == "false" || text == "null" || text == "yes" || text == "no" || text == "on" ||
                     text == "off" || text == "~";
    if (!odd) return text;
    if (text.find('\n') != std::string::npos || text.find('\\') != std::string::npos) return value.dump();
    std::string quoted = "'";
    for (const char c : text) quoted += c == '\'' ? std::string("''") : std::string(1, c);
    return quoted + "'";
  };
  if (json.is_object()) {
    for (const auto& [key, value] : json.items()) {
      if (value.is_structured() && !value.empty()) {
        out += indent + key + ":\n";
        emit(value, value.is_array() ? depth : depth + 1, out);
      } else {
        out += indent + key + ": " + (value.is_structured() ? value.dump() : scalar(value)) + "\n";
      }
    }
  } else if (json.is_array()) {
    for (const auto& value : json) out += indent + "- " + (value.is_structured() ? value.dump() : scalar(value)) + "\n";
  }
}

}  // namespace

std::string yaml_of(const std::string& json) {
  const auto parsed = nlohmann::json::parse(json, nullptr, false);
  std::string out;
  if (parsed.is_structured()) emit(parsed, 0, out);
  return out;
}

}  // namespace pgvigil::ctl
