#include "model/member.h"

#include <array>
#include <utility>

namespace pgvigil {
namespace {

constexpr std::array<std::string_view, 6> kRoles{"primary", "replica",  "standby_leader",
                                                 "demoted", "promoted", "uninitialized"};
constexpr std::array<std::string_view, 15> kStates{"initializing new cluster",
                                                   "initdb failed",
                                                   "running custom bootstrap script",
                                                   "custom bootstrap failed",
                                                   "creating replica",
                                                   "running",
                                                   "starting",
                                                   "starting after custom bootstrap",
                                                   "start failed",
                                                   "restarting",
                                                   "restart failed",
                                                   "stopping",
                                                   "stopped",
                                                   "stop failed",
                                                   "crashed"};

}  // namespace

std::string_view to_string(Role role) { return kRoles[static_cast<std::size_t>(role)]; }

std::optional<Role> parse_role(std::string_view text) {
  if (text == "master") return Role::Leader;
  for (std::size_t i = 0; i < kRoles.size(); ++i) {
    if (kRoles[i] == text) return static_cast<Role>(i);
  }
  return std::nullopt;
}

std::string_view to_string(InstanceState state) { return kStates[static_cast<std::size_t>(state)]; }

std::optional<InstanceState> parse_instance_state(std::string_view text) {
  for (std::size_t i = 0; i < kStates.size(); ++i) {
    if (kStates[i] == text) return static_cast<InstanceState>(i);
  }
  return std::nullopt;
}

}  // namespace pgvigil
