// A leader that is asked to step down: whether the request is due, and who could take over.
#pragma once

#include <string>
#include <vector>

#include "ha/situation.h"

namespace pgvigil::ha {

// A failover request that is not scheduled, or whose time has come.
bool request_is_due(const Situation& at);
// primary_start_timeout = 0, or a start in place that takes too long: the leader would rather be failed over.
bool settings_want_failover_of_crashed(const Situation& at);

struct Candidate {
  MemberName name;
  std::string obstacle;  // empty: it can take over
};

// Every other member with what stands in its way. `asked_for` empty: all of them; `any_state`: a failover, which the
// operator may direct at a member that is not synchronous.
std::vector<Candidate> candidates(const Situation& at, const MemberName& asked_for, bool any_state);
// Whether one of them can take over; `obstacles` becomes the sentence that says why none can.
bool somebody_can_take_over(const Situation& at, const MemberName& asked_for, bool any_state, std::string* obstacles);

// The leader's answer to the request in the view; empty: there is nothing to do (yet).
Answer step_down(const Situation& at);

}  // namespace pgvigil::ha
