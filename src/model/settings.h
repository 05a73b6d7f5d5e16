// The dynamic configuration as far as decisions depend on it, parsed and bounded. Source: the `config` key.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/time.h"
#include "model/lsn.h"

namespace pgvigil {

enum class SyncMode : std::uint8_t { Off, On, Quorum };

struct StandbyCluster {  // we are the disaster copy of another cluster
  std::string host;      // several comma separated hosts are allowed
  std::string port;
  std::string primary_slot_name;
  std::string restore_command, archive_cleanup_command, recovery_min_apply_delay;
  friend bool operator==(const StandbyCluster&, const StandbyCluster&) = default;
};

struct ClusterSettings {
  Duration ttl = std::chrono::seconds(30);
  Duration loop_wait = std::chrono::seconds(10);
  Duration retry_timeout = std::chrono::seconds(10);
  WalBytes maximum_lag_on_failover{1048576};
  WalBytes maximum_lag_on_syncnode{-1};
  std::uint32_t max_timelines_history = 0;                     // 0: keep all
  Duration primary_start_timeout = std::chrono::seconds(300);  // 0: fail over at once
  Duration primary_stop_timeout{0};                            // 0: none
  Duration member_slots_ttl = std::chrono::minutes(30);
  bool check_timeline = false;
  bool pause = false;
  SyncMode synchronous_mode = SyncMode::Off;
  bool synchronous_mode_strict = false;
  std::uint32_t synchronous_node_count = 1;
  bool failsafe_mode = false;
  bool lossless_failover = true;  // pgvigil's own: hand over when a replica holds all of a crashed leader's WAL
  // pgvigil's own: how long a handover waits for the candidate to hold the shutdown checkpoint before it is called off
  Duration handover_timeout = std::chrono::seconds(10);
  // pgvigil's own: how long a leader that is to stop waits for the poolers to drain; 0: they are not asked
  Duration switchover_drain_timeout = std::chrono::seconds(5);
  bool use_slots = true;
  bool use_pg_rewind = false;
  bool remove_data_directory_on_rewind_failure = false;
  bool remove_data_directory_on_diverged_timelines = false;
  std::optional<StandbyCluster> standby_cluster;
  friend bool operator==(const ClusterSettings&, const ClusterSettings&) = default;
};

}  // namespace pgvigil
