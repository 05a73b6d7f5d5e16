// One machine: its disk, its PostgreSQL, its guard, and the agent that runs on it. A frozen machine does nothing; when
// it thaws the guard's timer fires first. A crashed one keeps its disk and the clock begins anew.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "ha/sync_names.h"
#include "model/ids.h"
#include "model/instance.h"
#include "network.h"
#include "process.h"
#include "rules.h"
#include "wal.h"

namespace pgvigil::sim {

struct Disk {
  bool present = false;
  bool half_rewound = false;
  bool standby_signal = false;
  SystemId system_id;
  Wal wal;
  ControlState state = ControlState::Unknown;
  Lsn checkpoint;  // where the last checkpoint's record starts
  Timeline checkpoint_timeline{1};
  Lsn min_recovery_end;  // a standby is consistent from here on
  std::set<std::string> slots;
  std::string sync_names;  // in its configuration file
  std::string cached_config;
};

enum class Phase : std::uint8_t { Starting, Standby, Promoting, Primary, Stopping };

struct Server {
  std::int64_t pid = 0;
  Phase phase = Phase::Starting;
  bool recovery = false;
  bool being_created = false;  // by bootstrap: no client knows of it, no guard watches it yet
  bool replaying = false;      // a standby that has begun to replay, and is not consistent yet
  std::optional<std::size_t> upstream;
  bool streaming = false;
  std::int64_t upstream_pid = 0;  // of the postmaster that it streams from
  std::optional<TimePoint> stalled_since;
  bool has_streamed = false;
  ha::SyncNames sync;  // what its processes obey
  struct Waiting {     // a commit that is not acknowledged yet
    std::size_t index;
    Lsn end;
  };
  std::deque<Waiting> waiting;
  bool pump_due = false;
  bool connect_due = false;
};

struct Guard {
  std::int64_t pid = 0;  // 0: disarmed
  TimePoint deadline;    // on the machine's clock
  std::uint64_t armed = 0;
  std::uint64_t kills = 0;
};

struct Weather {            // what slows one machine down
  Duration disk{0};         // starts, checkpoints and looks take up to this much longer
  Duration stream{0};       // WAL arrives up to this much later
  bool disk_stuck = false;  // nothing is committed
  double link_errors = 0;   // of the guard's socket
};

class Cluster;

class Machine {
 public:
  Machine(Cluster& cluster, std::size_t place);
  ~Machine();

  // --- the machine ---
  void power_on();
  void crash();  // everything stops; the disk stays
  void freeze();
  void thaw();
  [[nodiscard]] bool up() const { return powered_ && !frozen_; }
  [[nodiscard]] bool powered() const { return powered_; }
  [[nodiscard]] bool frozen() const { return frozen_; }
  // Runs `call` after `wait` unless the machine has crashed meanwhile; a frozen one runs it when it thaws.
  void after(Duration wait, std::function<void()> call);
  [[nodiscard]] TimePoint local_now() const;

  // --- the agent ---
  void start_agent();
  void kill_agent();
  void stop_agent();  // SIGTERM
  [[nodiscard]] bool agent_runs() const;
  [[nodiscard]] bool agent_awake() const;  // runs, and neither it nor the machine is frozen
  struct AgentParts;
  [[nodiscard]] AgentParts* agent() const { return agent_.get(); }

  // --- PostgreSQL: what its postmaster and the kernel do, whoever asked for it ---
  std::int64_t start_server(bool standby, std::optional<std::size_t> upstream, Duration takes);
  void fast_stop();
  void kill_server(const char* why);
  void die();  // the postmaster alone is killed: the agent is there to see it, and nothing need be lost
  void promote(Duration takes);
  void set_upstream(std::optional<std::size_t> upstream);
  void commit();  // a client's transaction; the checker hears of its acknowledgement, perhaps later
  // synchronous_standby_names as its configuration says now; its processes follow within two seconds.
  void reload_sync_names();
  void acknowledge_waiting();
  // As pg_stat_replication shows it.
  [[nodiscard]] std::string sync_state_of(const Machine& standby) const;
  void write_checkpoint();
  [[nodiscard]] bool writable() const {
    return up() && server && server->phase == Phase::Primary && !server->being_created;
  }
  // Whether it answers queries.
  [[nodiscard]] bool answers() const;
  [[nodiscard]] Duration disk_time(Duration low, Duration high);

  // --- the guard's process ---
  Result<void> arm(TimePoint deadline, std::int64_t pid);
  void disarm();

  const std::size_t place;
  const MemberName name;
  MachineClock clock;
  Disk disk;
  std::optional<Server> server;
  Guard guard;
  Weather weather;
  Tags tags;
  bool stopped_cleanly = false;  // as a primary, and not started since
  unsigned failed_rewinds = 0;   // in a row
  TimePoint awake_since;         // true time: since when the agent runs without a pause
  TimePoint at_ease_since;       // true time: since when its server, its WAL and its network have not changed

 private:
  // after(), unless the server that runs now has ended meanwhile.
  void after_in_server(Duration wait, std::function<void()> call);
  void become_ready();
  void end_server(const char* why);
  void finish_fast_stop();
  void plan_connect(Duration wait);
  void connect();
  void lose_stream(std::int64_t upstream_pid, Duration wait);
  void plan_pump();
  void pump_after(Duration wait);
  void pump();
  void wake_receivers();
  [[nodiscard]] std::vector<const Machine*> receivers() const;
  [[nodiscard]] bool is_replicated(Lsn end) const;
  void check_guard();

  Cluster& cluster_;
  World& world_;
  bool powered_ = false, frozen_ = false;
  std::uint64_t boot_ = 0;
  std::vector<std::function<void()>> inbox_;
  std::unique_ptr<AgentParts> agent_;
  std::uint64_t agent_starts_ = 0;
};

}  // namespace pgvigil::sim
