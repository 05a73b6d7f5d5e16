// What a member tells about itself under members/<name>.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"
#include "model/ids.h"
#include "model/lsn.h"

namespace pgvigil {

// The texts and numbers are fixed by the interface that monitoring reads; see to_string.
enum class Role : std::uint8_t {
  Leader,         // "primary"
  Replica,        // "replica"
  StandbyLeader,  // "standby_leader"
  Demoted,        // "demoted": was leader, is being turned into a replica
  Promoted,       // "promoted": promotion was ordered, recovery has not ended yet
  Uninitialized,  // "uninitialized": no data directory yet
};

// Numbers are metric values and never change.
enum class InstanceState : std::uint8_t {
  Initializing = 0,
  InitdbFailed = 1,
  CustomBootstrap = 2,
  CustomBootstrapFailed = 3,
  CreatingReplica = 4,
  Running = 5,
  Starting = 6,
  StartingAfterCustomBootstrap = 7,
  StartFailed = 8,
  Restarting = 9,
  RestartFailed = 10,
  Stopping = 11,
  Stopped = 12,
  StopFailed = 13,
  Crashed = 14,
};

std::string_view to_string(Role role);
std::optional<Role> parse_role(std::string_view text);  // accepts "master" from old peers as Leader
std::string_view to_string(InstanceState state);
std::optional<InstanceState> parse_instance_state(std::string_view text);

// The tags that decisions look at. `raw` below keeps all of them as published.
struct Tags {
  bool nofailover = false;  // effective: failover_priority <= 0 counts, nofailover wins when both are given
  int failover_priority = 1;
  bool nosync = false;
  int sync_priority = 1;
  bool noloadbalance = false;
  bool clonefrom = false;
  bool nostream = false;
  std::string replicatefrom;  // empty: the leader
  friend bool operator==(const Tags&, const Tags&) = default;
};

struct PendingChange {  // a parameter that waits for a restart
  std::string old_value, new_value;
  friend bool operator==(const PendingChange&, const PendingChange&) = default;
};

// Filters and time of a restart, as REST takes it and members/<name>.scheduled_restart carries it.
struct RestartRequest {
  std::optional<WallTime> schedule;
  std::string schedule_text;          // ISO 8601 with offset, as given
  std::string postmaster_start_time;  // the schedule is void when the postmaster was restarted meanwhile
  std::optional<Role> role;
  std::string postgres_version;  // restart only if the server is older than this ("15.4")
  bool restart_pending = false;
  std::optional<Duration> timeout;
  friend bool operator==(const RestartRequest&, const RestartRequest&) = default;
};

struct Member {
  MemberName name;
  LeaseId lease;
  Revision mod_revision;
  std::string conn_url, api_url, proxy_url;
  std::string host;           // from conn_url
  std::uint16_t port = 5432;  // from conn_url
  InstanceState state = InstanceState::Stopped;
  Role role = Role::Uninitialized;
  std::string version;
  Tags tags;
  std::string raw_tags;  // JSON object text, empty when there are none
  std::map<std::string, PendingChange> pending_restart;
  bool pending_restart_flag = false;
  std::optional<bool> checkpoint_after_promote;  // present (false): the checkpoint after promotion is not done yet
  Lsn wal_position;  // xlog_location: flush LSN of a primary, max(receive, replay) of a standby
  Lsn receive_lsn, replay_lsn;
  Timeline timeline;
  std::string replication_state;  // "streaming", "in archive recovery" or empty
  std::optional<RestartRequest> scheduled_restart;
  bool pause = false;
  std::string progress;  // pgvigil's own field: what a long operation is at ("copied 41 % of 3.2 GB, 35 s left")
  std::string problem;   // pgvigil's own field: what keeps it from streaming, and what would mend it
  std::string raw;       // the JSON text as stored
};

}  // namespace pgvigil
