#include "ha/drain.h"

namespace pgvigil::ha {

DrainProgress drain_progress(const ClusterView& view, const std::string& id) {
  DrainProgress progress;
  for (const auto& pooler : view.poolers) {
    ++progress.poolers;
    const bool answers = pooler.drain && pooler.drain->id == id;
    if (answers && pooler.drain->drained) continue;
    ++progress.undrained;
    if (answers) progress.active += pooler.drain->active;
  }
  return progress;
}

}  // namespace pgvigil::ha
