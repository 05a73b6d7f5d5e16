#include <fmt/chrono.h>

#include <algorithm>
#include <ctime>
#include <iostream>
#include <nlohmann/json.hpp>

#include "ctl/verbs.h"

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

bool has_role(const ClusterView& view, const Member& member, const std::string& role) {
  const bool leads = view.led_by(member.name);
  if (role == "any") return true;
  if (role == "leader") return leads;
  if (role == "primary") return leads && member.role != Role::StandbyLeader;
  if (role == "standby-leader") return leads && member.role == Role::StandbyLeader;
  if (role == "replica" || role == "standby") return !leads;
  throw CommandError{"unknown role " + role + "; use leader, primary, standby-leader, replica, standby or any"};
}

}  // namespace

bool confirmed(const std::string& question) {
  const std::string answer = prompt(question + " [y/N]", "n");
  return answer == "y" || answer == "Y" || answer == "yes";
}

std::string prompt(const std::string& question, const std::string& fallback) {
  fmt::print("{}: ", question);
  std::fflush(stdout);
  std::string line;
  if (!std::getline(std::cin, line)) throw CommandError{"Aborted!"};
  return line.empty() ? fallback : line;
}

std::string yaml_of(const std::string& json) {
  const auto parsed = nlohmann::json::parse(json, nullptr, false);
  std::string out;
  if (parsed.is_structured()) emit(parsed, 0, out);
  return out;
}

std::vector<const Member*> select(const ClusterView& view, const std::string& role,
                                  const std::vector<std::string>& names) {
  for (const auto& name : names) {
    if (view.member(MemberName(name)) == nullptr) throw CommandError{name + " is not a member of the cluster"};
  }
  std::vector<const Member*> chosen;
  for (const auto& member : view.members) {
    const bool named = names.empty() || std::find(names.begin(), names.end(), member.name.text()) != names.end();
    if (named && has_role(view, member, role)) chosen.push_back(&member);
  }
  std::stable_sort(chosen.begin(), chosen.end(),
                   [&view](const Member* a, const Member* b) { return view.led_by(a->name) && !view.led_by(b->name); });
  if (chosen.empty()) throw CommandError{"No members found among provided members"};
  return chosen;
}

std::string now_text() { return fmt::format("{:%Y-%m-%d %H:%M:%S}", fmt::localtime(std::time(nullptr))); }

}  // namespace pgvigil::ctl
