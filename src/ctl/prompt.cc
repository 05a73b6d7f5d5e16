#include <fmt/chrono.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <ctime>
#include <iostream>

#include "base/timestamp.h"
#include "ctl/verbs.h"

namespace pgvigil::ctl {
namespace {

bool has_role(const ClusterView& view, const Member& member, const std::string& role) {
  const bool leads = view.led_by(member.name);
  if (role == "any") return true;
  if (role == "leader") return leads;
  if (role == "primary") return leads && member.role != Role::StandbyLeader;
  if (role == "standby-leader") return leads && member.role == Role::StandbyLeader;
  if (role == "replica" || role == "standby") return !leads;
  throw CommandError{fmt::format("unknown role {}; use {}", role, fmt::join(member_roles(), ", "))};
}

}  // namespace

const std::vector<std::string>& member_roles() {
  static const std::vector<std::string> roles{"leader", "primary", "standby-leader", "replica", "standby", "any"};
  return roles;
}

const std::vector<std::string>& output_formats() {
  static const std::vector<std::string> formats{"pretty", "tsv", "json", "yaml", "yml"};
  return formats;
}

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

std::string schedule_of(const std::string& text) {
  if (text.empty() || text == "now") return {};
  if (parse_instant(text)) return text;
  const std::time_t now = std::time(nullptr);
  const std::string zone = fmt::format("{:%z}", fmt::localtime(now));
  const std::string with_zone = text + zone.substr(0, 3) + ":" + zone.substr(3);
  if (!parse_instant(with_zone)) {
    throw CommandError{fmt::format(
        "Unable to parse scheduled timestamp ({}). It should be in an unambiguous format (e.g. ISO 8601)", text)};
  }
  return with_zone;
}

std::string example_time() {
  constexpr std::time_t kHour = 3600;
  return fmt::format("{:%Y-%m-%dT%H:%M}", fmt::localtime(std::time(nullptr) + kHour));
}

std::string now_text() { return fmt::format("{:%Y-%m-%d %H:%M:%S}", fmt::localtime(std::time(nullptr))); }

}  // namespace pgvigil::ctl
