// The rules of high availability as one pure function: no I/O, no clock, no randomness, no state.
#pragma once

#include <string>
#include <vector>

#include "base/time.h"
#include "model/cluster_view.h"
#include "model/decision.h"
#include "model/local_state.h"

namespace pgvigil::ha {

// Total: every pair of inputs has an answer, and the answer says why. First match in the order of decide.cc.
// `now` is the reading of the clock that `self` was gathered at.
Decision decide(const ClusterView& view, const LocalState& self, TimePoint now);

// What has to be known before decide() can answer: whether the other members must be asked (a race, or a request to
// step down). Asking costs a round trip to each, so it is not done in the quiet case.
bool needs_peers(const ClusterView& view, const LocalState& self, TimePoint now);

// When to decide again at the latest, if nothing happens before.
TimePoint next_look(const ClusterView& view, const LocalState& self, const Decision& decision, TimePoint now);

// Who could take the lead over from this leader, which has asked `self.peers`; `asked_for` empty: anybody. With
// `any_state` members that are not synchronous count too (a failover by order).
std::vector<MemberName> takeover_candidates(const ClusterView& view, const LocalState& self, TimePoint now,
                                            const MemberName& asked_for, bool any_state);

// From here on a primary must be gone when its lease was proven until `proven_until`: the difference covers the time
// to kill it and a clock that runs fast.
TimePoint deadline_of(TimePoint proven_until, Duration ttl);

// When a primary whose deadline is `leader_until` has to begin a clean stop, so that it ends before.
TimePoint begin_stop_at(TimePoint leader_until, Duration ttl);

}  // namespace pgvigil::ha
