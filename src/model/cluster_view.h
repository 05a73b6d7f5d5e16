// What etcd said of the cluster, and at which revision. A value: taken once, never changing under the reader.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "model/ids.h"
#include "model/instance.h"
#include "model/lsn.h"
#include "model/member.h"
#include "model/pooler.h"
#include "model/settings.h"

namespace pgvigil {

struct LeaderKey {
  MemberName name;
  Term term;  // create revision
  Revision mod_revision;
  LeaseId lease;
};

struct ClusterStatus {  // the `status` key
  Lsn optime;           // the leader's position when it wrote this
  std::map<std::string, Lsn> slots;
  std::vector<std::string> retain_slots;
  friend bool operator==(const ClusterStatus&, const ClusterStatus&) = default;
};

struct FailoverRequest {  // the `failover` key
  MemberName leader;      // set: a switchover away from this leader; empty: a failover
  MemberName candidate;   // may be empty
  std::optional<WallTime> scheduled_at;
  std::string scheduled_text;  // as written
  Revision mod_revision;
  [[nodiscard]] bool is_switchover() const { return !leader.empty(); }
};

struct SyncKey {      // the `sync` key
  MemberName leader;  // empty: null
  std::uint32_t quorum = 0;
  std::vector<MemberName> standbys;
  Revision mod_revision;  // 0: the key does not exist
};

struct ConfigChange {  // one line of pgvigil/config_history
  Revision revision;   // of the `config` key after the change
  std::string timestamp;
  std::vector<std::string> changes;  // "ttl: 30 -> 20"
};

struct CrashNote {  // pgvigil/crash: what became of a leader whose PostgreSQL had died
  MemberName leader;
  MemberName successor;  // handed over to; empty: started in place
  WalEnd end;
  std::string timestamp, reason;
};

struct HistoryEntry {
  Timeline timeline;
  Lsn switch_point;
  std::string reason, timestamp, new_leader;  // the last two may be empty
};

struct ClusterView {
  Revision revision;                      // of the read this view was made from
  std::optional<std::string> initialize;  // absent; "" while somebody bootstraps; else the system identifier
  Revision initialize_revision;
  // While `initialize` is empty: who claimed it (empty: a member that is no pgvigil agent), and whether he still lives.
  MemberName bootstrap_owner;
  Revision bootstrap_claim;  // of that claim: the same member may claim more than once
  bool bootstrap_alive = false;
  std::optional<LeaderKey> leader;
  std::vector<Member> members;        // sorted by name
  std::optional<std::string> config;  // JSON text
  Revision config_revision;
  ClusterStatus status;
  Revision status_revision;
  std::optional<FailoverRequest> failover;
  SyncKey sync;
  std::vector<HistoryEntry> history;
  std::optional<std::string> history_text;  // as stored; absent: no key
  Revision history_revision;
  std::map<std::string, std::string> failsafe;  // member -> api_url
  bool failsafe_present = false;
  Timeline reserved_timeline;  // the highest that a promotion has claimed, whether it came to its end or not
  Revision reserved_revision;
  std::vector<ConfigChange> config_history;  // the oldest first
  std::optional<CrashNote> crash;            // the last one
  std::vector<Pooler> poolers;               // sorted by name
  std::optional<DrainRequest> drain;
  std::optional<DrainNote> drained;  // the last one
  ClusterSettings settings;                  // from config, or the last good one

  [[nodiscard]] const Member* member(const MemberName& name) const {
    const auto found = std::find_if(members.begin(), members.end(), [&](const Member& m) { return m.name == name; });
    return found == members.end() ? nullptr : &*found;
  }
  [[nodiscard]] bool led_by(const MemberName& name) const { return leader && leader->name == name; }
  [[nodiscard]] const Member* leader_member() const { return leader ? member(leader->name) : nullptr; }
  // No timeline above this one has ever been begun, as far as etcd knows. A server that was promoted and vanished may
  // have commits on a timeline that no other server has heard of: its number must never be given out again, because
  // PostgreSQL tells histories apart by these numbers alone.
  [[nodiscard]] Timeline highest_timeline() const { return std::max(timeline(), reserved_timeline); }
  // The timeline that the cluster is known to be on: the last history entry's + 1; unknown without a history key.
  [[nodiscard]] Timeline timeline() const {
    if (!history_text) return Timeline();
    return history.empty() ? Timeline(1) : Timeline(history.back().timeline.value() + 1);
  }
};

}  // namespace pgvigil
