// The port to the local PostgreSQL instance. Implemented by postgres/local_postgres.h (real processes and libpq) and by
// the simulator. Single-threaded, on the clock's executor; no call blocks the loop. At most one of the long actions
// (those marked LONG) runs at a time; the caller sees to that. Probing is allowed beside them.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "model/instance.h"
#include "model/lsn.h"
#include "model/member.h"

namespace pgvigil::postgres {

// Where a standby streams from or a clone is taken from. Credentials and TLS settings come from the configuration.
struct Upstream {
  MemberName member;  // empty for the remote of a standby cluster
  std::string host;   // may be a comma separated list for a standby cluster
  std::string port;
  std::string slot;  // primary_slot_name; empty: none
  friend bool operator==(const Upstream&, const Upstream&) = default;
};

// How the instance has to be configured to run. The adapter adds what the configuration says.
struct RunAs {
  bool standby = false;                                  // writes standby.signal and recovery settings
  std::optional<Upstream> upstream;                      // standby only; empty: streams from nobody
  std::optional<std::string> synchronous_standby_names;  // nullopt: the user's configured value
  std::string restore_command, archive_cleanup_command, recovery_min_apply_delay;  // standby clusters only
  // start() only. Runs once the process of the new postmaster exists and before it executes PostgreSQL, with its pid.
  // An error ends that process and the start. So a primary never runs for an instant without its guard.
  std::function<Result<void>(std::int64_t postmaster_pid)> before_exec;
};

enum class StopMode : std::uint8_t { Fast, Immediate };

struct TimelineSwitch {  // a line of the leader's <timeline>.history file
  Timeline timeline;
  Lsn switch_point;
  std::string reason;
};

struct LeaderHistory {  // asked of the leader over a replication connection
  SystemId system_id;
  Timeline timeline;
  std::vector<TimelineSwitch> switches;
  bool in_recovery = false;
};

struct RewindVerdict {
  enum class Kind : std::uint8_t { NotNeeded, Needed, Unknown } kind = Kind::Unknown;
  std::string reason;    // with both positions: "local timeline 1 ends at 0/5000060, the leader left it at 0/4FFFF98"
  WalBytes diverged{0};  // how many bytes of local WAL are not part of the leader's history
};

using Progress = std::function<void(const std::string& text)>;  // "copied 41 % of 3.2 GB, 35 s left"

class Postgres {
 public:
  virtual ~Postgres() = default;

  // What is known right now. Never fails: what could not be found out is unknown in the result. Asks the server only if
  // it runs; costs one query. Stopped: reads the control file.
  virtual Task<Instance> observe(TimePoint deadline) = 0;
  // Runs when the postmaster has ended (noticed by pidfd, at once), on the executor. `expected`: we stopped it.
  virtual void on_exit(std::function<void(bool expected)> handler) = 0;
  // The directory, as of now; cheap.
  virtual DataDirectory data_directory() = 0;
  virtual Result<ControlData> control_data() = 0;

  // LONG. A new cluster: initdb or the custom method, users, scripts, as the configuration says; leaves it running as a
  // primary. On failure the data directory has been set aside (renamed *.failed).
  virtual Task<Result<void>> bootstrap(Progress progress) = 0;
  // LONG. Fills the empty data directory. `leader`: connection source; empty: only methods marked no_leader.
  virtual Task<Result<void>> clone(std::optional<Upstream> source, bool only_basebackup, Progress progress) = 0;
  // LONG. Writes the configuration for `run` and starts. Returns when it accepts connections, or, for a standby that
  // cannot answer yet, when its startup has begun to replay. Error Timeout: still starting at the deadline.
  virtual Task<Result<void>> start(RunAs run, TimePoint deadline) = 0;
  // LONG. `checkpoint_done` runs once the control file says "shut down" while walsenders may still be sending, with the
  // location of the shutdown checkpoint. Fast falls back to immediate at the deadline. Returns when no postmaster is
  // left.
  virtual Task<Result<void>> stop(StopMode mode, TimePoint deadline, std::function<void(Lsn)> checkpoint_done) = 0;
  // Kills the postmaster and every child at once (SIGKILL). Synchronous; for a lost lease.
  virtual void kill_now() = 0;
  // Orders the promotion and returns once it was ordered; the end of recovery shows in observe(). The new timeline gets
  // a number above `taken`, whatever this server has heard of.
  virtual Task<Result<void>> promote(Timeline taken, TimePoint deadline) = 0;
  virtual Task<Result<void>> checkpoint(TimePoint deadline) = 0;
  // Makes a running instance obey `run` without a restart where the server version permits; true = it needs a restart.
  virtual Task<Result<bool>> reconfigure(RunAs run, TimePoint deadline) = 0;
  // Re-reads the configuration files (SIGHUP semantics): rewrites postgresql.conf, pg_hba.conf, pg_ident.conf, reloads.
  virtual Task<Result<void>> reload(TimePoint deadline) = 0;

  // Slots: creates the missing physical ones, drops what is not wanted, advances the inactive ones. No-op while
  // stopped.
  struct SlotPlan {
    std::vector<std::string> physical;   // must exist
    std::map<std::string, Lsn> advance;  // on standbys: move inactive slots to here
    bool drop_others = false;            // drop inactive unknown slots (the adapter honours ignore_slots)
  };
  virtual Task<Result<void>> sync_slots(SlotPlan plan, TimePoint deadline) = 0;

  // The leader's timeline, history and recovery state (replication connection plus one query).
  virtual Task<Result<LeaderHistory>> ask_leader(Upstream leader, TimePoint deadline) = 0;
  // The local <timeline>.history file of a primary, parsed; with the file's modification time.
  virtual Task<Result<std::vector<TimelineSwitch>>> local_history(Timeline timeline, TimePoint deadline) = 0;
  // Compares the local end of WAL with the leader's history (never changes anything).
  virtual Task<RewindVerdict> rewind_needed(LeaderHistory leader, TimePoint deadline) = 0;
  // LONG. The instance is stopped. Does what pg_rewind needs (archives ready segments, crash recovery if due).
  virtual Task<Result<void>> rewind(Upstream leader, Progress progress) = 0;
  [[nodiscard]] virtual bool can_rewind() = 0;
  // LONG. The instance is stopped and was killed as a primary: where its WAL ends. What is left of its processes is
  // ended first, so that it stays so.
  virtual Task<Result<WalEnd>> find_wal_end(TimePoint deadline) = 0;
  // Writes and syncs a block in the data directory. Timeout: the disk has taken no write until the deadline, also of an
  // earlier probe, which goes on for as long as it takes.
  virtual Task<Result<void>> probe_writes(TimePoint deadline) = 0;
  // LONG. Single-user crash recovery.
  virtual Task<Result<void>> crash_recover(TimePoint deadline) = 0;
  // Renames the data directory to *.failed: a cluster was created in it that nobody will use. The instance is stopped.
  virtual Result<void> set_aside_data_directory() = 0;
  // Removes the data directory with WAL and tablespace targets. The instance is stopped.
  virtual Task<Result<void>> remove_data_directory() = 0;
  // Ends the child process of a LONG action that is under way (clone, rewind, bootstrap, ...); it then fails Cancelled.
  virtual void cancel_action() = 0;

  // Hooks of the configuration. Callbacks are asynchronous and never waited for; pre_promote and before_stop are.
  virtual void run_callback(const std::string& action, const std::string& role) = 0;
  virtual Task<Result<void>> pre_promote(TimePoint deadline) = 0;
};

}  // namespace pgvigil::postgres
