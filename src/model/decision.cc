#include "model/decision.h"

#include <array>

namespace pgvigil {
namespace {

constexpr std::array<std::string_view, 26> kActions{"none",           "claim-initialize",
                                                    "bootstrap",      "write-initialize",
                                                    "clone",          "crash-recover",
                                                    "start-leader",   "start-replica",
                                                    "follow",         "check-rewind",
                                                    "rewind",         "reclone",
                                                    "acquire-leader", "reattach-leader",
                                                    "release-leader", "promote",
                                                    "keep-leading",   "handover",
                                                    "demote-now",     "demote-release",
                                                    "demote-offline", "demote-cluster",
                                                    "find-wal-end",   "handover-crashed",
                                                    "clear-failover", "exit"};

}  // namespace

std::string_view to_string(Action action) { return kActions[static_cast<std::size_t>(action)]; }

}  // namespace pgvigil
