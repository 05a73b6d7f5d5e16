#include "model/local_state.h"

#include <array>

namespace pgvigil {
namespace {

// What REST and `list` show while the operation is under way.
constexpr std::array<std::string_view, 14> kOperations{"",
                                                       "bootstrapping the cluster",
                                                       "creating replica",
                                                       "starting as leader",
                                                       "starting as replica",
                                                       "restarting",
                                                       "promoting",
                                                       "handing over",
                                                       "demoting",
                                                       "comparing histories",
                                                       "running pg_rewind",
                                                       "doing crash recovery",
                                                       "reinitializing",
                                                       "finding the end of WAL"};

}  // namespace

std::string_view to_string(Operation operation) { return kOperations[static_cast<std::size_t>(operation)]; }

}  // namespace pgvigil
