// Synchronous replication: which members commits wait for (`synchronous_standby_names`, S and its count k) and which
// may lead after this leader (the `sync` key: voters V and the quorum q).
//
// A commit is on this leader and on k members of S. A member may lead when it and q others, all voters (or the key's
// leader), have told what they hold and none has more than it. So what was acknowledged is on the next leader as long
// as any q + 1 voters include one of any k members of S:
//
//     q + k >= |V u S|
//
// The key and the setting cannot change at one instant. Each step keeps the inequality, with what is in force on the
// other side, so the order of the steps follows from it: what loosens the setting comes after the key has tightened.
// Mode `on` is the case q = 0 and k = |S|, where it says V is a subset of S.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ha/sync_names.h"
#include "model/cluster_view.h"
#include "model/local_state.h"

namespace pgvigil::ha {

struct SyncStep {
  enum class Kind : std::uint8_t {
    None,      // as it should be
    Wait,      // for a standby to catch up, or for the setting to settle
    WriteKey,  // the `sync` key := key, under a compare of its revision
    DeleteKey,
    SetNames,  // synchronous_standby_names := names; empty: the user's own value
  } kind = Kind::None;
  SyncKey key;
  std::optional<SyncNames> names;
};

// What a running leader does next.
SyncStep next_sync_step(const ClusterView& view, const LocalState& self);

// What a standby that holds the leader key does before it is promoted, so that its first commit is already bound by
// what the key will say: the key, if it changes, and the setting.
struct SyncTakeover {
  std::optional<SyncKey> key;
  bool delete_key = false;
  std::optional<SyncNames> names;  // empty: the user's own value
};
SyncTakeover sync_takeover(const ClusterView& view, const LocalState& self);

// The setting with which a leader starts in place, when what was in force before is not known: the least that fits the
// key. Empty: the user's own value.
std::optional<SyncNames> sync_names_at_start(const ClusterView& view, const MemberName& self);

}  // namespace pgvigil::ha
