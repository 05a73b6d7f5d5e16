// How far the poolers are with a drain. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "model/cluster_view.h"

namespace pgvigil::ha {

struct DrainProgress {
  std::uint64_t poolers = 0;    // registered
  std::uint64_t undrained = 0;  // of them, those that have not said "drained" for this request
  std::uint64_t active = 0;     // transactions in flight there, as far as they tell
  [[nodiscard]] bool complete() const { return undrained == 0; }
};

// A pooler that is gone (its lease has ended) is waited for no longer; what one says of another request does not count.
DrainProgress drain_progress(const ClusterView& view, const std::string& id);

}  // namespace pgvigil::ha
