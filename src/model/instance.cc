#include "model/instance.h"

#include <array>
#include <utility>

namespace pgvigil {
namespace {

constexpr std::array<std::string_view, 8> kControlStates{
    "unknown",       "starting up",       "shut down",           "shut down in recovery",
    "shutting down", "in crash recovery", "in archive recovery", "in production"};

}  // namespace

std::string_view to_string(ControlState state) { return kControlStates[static_cast<std::size_t>(state)]; }

ControlState parse_control_state(std::string_view text) {
  for (std::size_t i = 1; i < kControlStates.size(); ++i) {
    if (kControlStates[i] == text) return static_cast<ControlState>(i);
  }
  return ControlState::Unknown;
}

}  // namespace pgvigil
