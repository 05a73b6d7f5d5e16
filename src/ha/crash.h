// The leader's PostgreSQL has died and its agent lives: start it in place, or hand over to a replica that holds all.
#pragma once

#include <string>

#include "ha/situation.h"

namespace pgvigil::ha {

// Whether a handover is expected to be over sooner than crash recovery in place. A handover takes about half a second,
// however much WAL there is: the questions, two writes to etcd, the promotion. Crash recovery replays some 50 to 100 MB
// a second on one core, and a start takes 0.06 s besides. So the bound lies where recovery takes half a second too. A
// start in place also keeps timeline, slots and caches, so what is about equal is done in place.
bool handover_is_quicker(WalBytes to_replay);

struct CrashPlan {
  bool seek = false;     // the end of WAL has to be found first
  MemberName successor;  // empty: start in place
  std::string why;       // with the byte counts; empty: nothing was to be decided
};
// For a leader whose server is stopped and died as a primary.
CrashPlan plan_after_crash(const Situation& at);

}  // namespace pgvigil::ha
