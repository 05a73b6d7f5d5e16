// What a mutation may break. The defaults break nothing.
#pragma once

#include <functional>

#include "ha/decide.h"
#include "ha/sync.h"

namespace pgvigil::sim {

struct Rules {
  std::function<Decision(const ClusterView&, const LocalState&, TimePoint)> decide = ha::decide;
  std::function<ha::SyncStep(const ClusterView&, const LocalState&)> sync_step = ha::next_sync_step;
  bool compares = true;                     // etcd looks at the compares of a transaction
  bool all_compares = true;                 // ... and at all of them, not only at the first
  Duration guard_late{0};                   // the guard strikes this much after its deadline
  bool guard_strikes = true;                // the guard kills at all
  bool guard_before_exec = true;            // a primary is started only under an armed guard
  bool inflated_reports = false;            // members report more WAL than they have
  bool rewind_works = true;                 // a rewind changes anything
  bool timelines_reserved = true;           // a promotion leaves out the timelines that others may have begun
  bool watch_resumes = true;                // a new watch begins where the last one ended
  bool failsafe_silence_counts = false;     // a member that does not answer counts as one that has promised
  bool failsafe_promise_forgotten = false;  // a member that was asked does not know it afterwards
  bool wal_read_to_its_end = true;          // the end of a dead server's WAL is found where it is
  bool drain_taken_back = true;             // the request goes when it is deleted
  bool checkpoint_tells_start = true;       // the shutdown checkpoint's place is told, not a place before it
};

}  // namespace pgvigil::sim
