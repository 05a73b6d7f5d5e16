#include "ha/situation.h"

namespace pgvigil::ha {

Ancestry ancestry(const ClusterView& view, Timeline timeline, Lsn position) {
  const Timeline current = view.timeline();
  if (!timeline.known() || !current.known() || !position.known()) return Ancestry::Unknown;
  if (timeline >= current) return Ancestry::Current;
  // A cluster's history lists each timeline that lies behind the current one with the position at which it was left.
  for (const auto& entry : view.history) {
    if (entry.timeline == timeline) {
      return position > entry.switch_point ? Ancestry::Diverged : Ancestry::Ancestor;
    }
  }
  return Ancestry::Unknown;  // cut off by max_timelines_history
}

}  // namespace pgvigil::ha
