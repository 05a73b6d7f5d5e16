// What the agent knows of its own PostgreSQL at one moment.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "model/ids.h"
#include "model/lsn.h"
#include "model/member.h"

namespace pgvigil {

enum class DataDirectory : std::uint8_t { Empty, Present, Unreadable };

// pg_controldata's "Database cluster state".
enum class ControlState : std::uint8_t {
  Unknown,
  StartingUp,
  ShutDown,
  ShutDownInRecovery,
  ShuttingDown,
  InCrashRecovery,
  InArchiveRecovery,
  InProduction,
};

struct ControlData {
  ControlState state = ControlState::Unknown;
  SystemId system_id;
  Timeline timeline;  // of the latest checkpoint
  Lsn checkpoint;     // "Latest checkpoint location"
  Lsn redo;
  Lsn min_recovery_end;
  Timeline min_recovery_timeline;
  bool wal_log_hints = false;
  bool data_checksums = false;
  std::uint32_t max_connections = 0, max_worker_processes = 0, max_wal_senders = 0, max_prepared_transactions = 0,
                max_locks_per_transaction = 0;
};

enum class PostmasterState : std::uint8_t {
  Stopped,       // no postmaster
  Starting,      // there is one, it refuses connections so far
  Running,       // it answers
  Unresponsive,  // there is one, it did not answer in time: what it does is unknown, not "stopped"
};

// How much a server that was killed as a primary has to replay, and where its WAL ends.
struct WalEnd {
  Timeline timeline;
  Lsn redo, end;
  [[nodiscard]] WalBytes to_replay() const { return end - redo; }
};

struct WalSender {  // a row of pg_stat_replication
  std::string user, application_name, client_address, state, sync_state;
  int sync_priority = 0;
  Lsn sent, written, flushed, replayed;
};

struct ReplicationSlot {
  std::string name;
  bool logical = false;
  std::string plugin, database;
  bool active = false, temporary = false;
  bool has_xmin = false;
  Lsn restart, confirmed_flush;
  std::string wal_status;
};

struct Instance {
  DataDirectory data_directory = DataDirectory::Empty;
  PostmasterState postmaster = PostmasterState::Stopped;
  std::int64_t postmaster_pid = 0;
  TimePoint observed;  // when the observation began
  SystemId system_id;
  int server_version = 0;             // 150020; 0 = unknown
  std::string postmaster_start_time;  // "2026-01-24 02:13:52.281130+00:00"
  bool in_recovery = false;           // meaningful while Running
  Timeline timeline;
  Lsn flushed;                     // of a primary
  Lsn received, replayed;          // of a standby; received = written where the server tells it
  Lsn latest_end;                  // the upstream's end as the WAL receiver last heard of it
  std::string replayed_timestamp;  // empty: null
  bool replay_paused = false;
  bool replay_needs_restart = false;  // it has stopped at limits of the primary that are above those of this server
  std::string replication_state;      // "streaming", "in archive recovery" or empty
  std::string upstream_conninfo;      // host:port the WAL receiver is connected to; empty: none
  std::map<std::string, PendingChange> pending_restart;
  std::vector<WalSender> wal_senders;
  std::string synchronous_standby_names, synchronous_commit;  // as they are in force
  std::vector<ReplicationSlot> slots;
  std::optional<ControlData> control;  // filled while Stopped and after promotion
  bool standby_configured = false;     // standby.signal (or recovery.conf) is there
  bool half_rewound = false;           // a pg_rewind did not come to its end: it cannot be started before one does

  // The position that a race compares: everything this instance has, applied or not.
  [[nodiscard]] Lsn wal_end() const { return in_recovery ? std::max(received, replayed) : flushed; }
  [[nodiscard]] bool running_as_primary() const { return postmaster == PostmasterState::Running && !in_recovery; }
};

std::string_view to_string(ControlState state);
ControlState parse_control_state(std::string_view text);

}  // namespace pgvigil
