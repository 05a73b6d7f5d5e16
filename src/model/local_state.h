// What the agent knows of its own node when a decision is due. A value, gathered once per step.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "model/ids.h"
#include "model/instance.h"
#include "model/member.h"
#include "model/peer_report.h"

namespace pgvigil {

enum class Operation : std::uint8_t {  // the one long action that is under way
  None,
  Bootstrap,
  Clone,
  StartPrimary,  // start or restart in place as the leader
  StartStandby,
  Restart,  // by command; as what it was
  Promote,
  Handover,
  Demote,
  CheckRewind,
  Rewind,
  CrashRecover,
  Reinitialize,
  FindWalEnd,  // of a leader's server that has died
};

std::string_view to_string(Operation operation);

enum class RewindStage : std::uint8_t {
  Settled,    // compared, and nothing has happened since that could change the answer
  Due,        // has to be compared with the leader before its history is trusted
  Undecided,  // compared without result: the leader was not reachable, or the local end of WAL is not known yet
  Needed,     // diverged
  Failed,     // diverged, and pg_rewind failed
};

struct LocalState {
  MemberName name;
  Tags tags;
  Instance instance;
  Role role = Role::Uninitialized;  // what this agent last made of it; survives a server that does not answer
  Operation operation = Operation::None;
  WallTime wall{};          // for schedules only
  TimePoint started;        // when this agent was started
  bool first_step = false;  // nothing has been decided since this agent was started

  // --- the session lease ---
  LeaseId lease;                          // 0: none
  std::optional<TimePoint> leader_until;  // a primary must not outlive this: the proof of the lease minus the margin
  Duration lead_ttl{};                    // ttl of the lease that proves it, not of one to come; zero: not known
  bool lead_doubtful = false;             // a write that gives the leader key up may or may not have been applied

  // --- creating a cluster or a replica ---
  bool may_bootstrap = false;
  bool initialize_is_mine = false;     // we claimed the empty `initialize` key
  bool clones_without_leader = false;  // some create_replica_method needs no leader
  std::optional<TimePoint> retry_at;   // a start, clone or bootstrap failed: not again before this

  // --- a server that died or does not come up ---
  bool crashed = false;           // it ended without our order
  bool start_failed = false;      // since the last time that it ran
  bool crash_recovered = false;   // single-user recovery was done since it died
  bool wal_end_sought = false;    // since it died
  std::optional<WalEnd> wal_end;  // what that has found
  std::optional<TimePoint> starting_since;
  std::optional<TimePoint> stopped_since;

  // --- synchronous replication ---
  // Everything up to here was written before the names in force were; unknown: those have not settled yet.
  Lsn sync_sample;

  // --- what makes a leader of no use ---
  bool writes_stuck = false;                     // the disk has taken no write for longer than the probe waits
  std::optional<TimePoint> failed_leader_until;  // PostgreSQL failed here again and again: others shall lead
  // --- failsafe mode: a primary that cannot reach etcd has asked this member, and not long ago ---
  std::optional<TimePoint> failsafe_until;

  // --- rewind ---
  RewindStage rewind = RewindStage::Due;
  bool can_rewind = false;
  std::string rewind_reason;  // with the positions

  // --- leader race and step-down ---
  std::optional<TimePoint> no_race_until;  // pre_promote failed, or the server failed as leader
  bool watchdog_required = false, watchdog_failed = false;
  bool peers_asked = false;                  // `peers` is the answer to this very situation
  std::vector<PeerAnswer> peers;             // every other known member
  std::optional<TimePoint> no_leader_since;  // as this agent saw it
  MemberName former_leader;                  // who led last, as far as we have seen
};

}  // namespace pgvigil
