// The real PostgreSQL of this node: processes, files and libpq behind the port. One object per data directory; it may
// be destroyed and made anew while PostgreSQL runs: the new one adopts the server.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "config/agent_config.h"
#include "postgres/action_runner.h"
#include "postgres/conf_files.h"
#include "postgres/control_data.h"
#include "postgres/hooks.h"
#include "postgres/local_session.h"
#include "postgres/monitor.h"
#include "postgres/port.h"
#include "postgres/postmaster.h"
#include "postgres/server_settings.h"
#include "postgres/write_probe.h"

namespace pgvigil::postgres {

class LocalPostgres final : public Postgres {
 public:
  struct Node {
    MemberName name;
    std::string scope;
    config::BootstrapConfig bootstrap;
    std::string runtime_dir;  // for the server's start log, <runtime_dir>/postgresql-<name>.log; created if missing
  };

  // `effective.postgresql.data_dir` is fixed for the life of the object.
  LocalPostgres(Clock& clock, Log log, Node node, config::Effective effective);
  ~LocalPostgres() override;

  // Takes a new configuration over; it reaches the server with the next reload(), reconfigure() or start().
  void configure(config::Effective effective);

  Task<Instance> observe(TimePoint deadline) override;
  void on_exit(std::function<void(bool expected)> handler) override;
  DataDirectory data_directory() override;
  Result<ControlData> control_data() override;
  Task<Result<void>> bootstrap(Progress progress) override;
  Task<Result<void>> clone(std::optional<Upstream> source, bool only_basebackup, Progress progress) override;
  Task<Result<void>> start(RunAs run, TimePoint deadline) override;
  Task<Result<void>> stop(StopMode mode, TimePoint deadline, std::function<void(Lsn)> checkpoint_done) override;
  void kill_now() override;
  Task<Result<void>> promote(Timeline taken, TimePoint deadline) override;
  Task<Result<void>> checkpoint(TimePoint deadline) override;
  Task<Result<bool>> reconfigure(RunAs run, TimePoint deadline) override;
  Task<Result<void>> reload(TimePoint deadline) override;
  Task<Result<void>> sync_slots(SlotPlan plan, TimePoint deadline) override;
  Task<Result<LeaderHistory>> ask_leader(Upstream leader, TimePoint deadline) override;
  Task<Result<std::vector<TimelineSwitch>>> local_history(Timeline timeline, TimePoint deadline) override;
  Task<RewindVerdict> rewind_needed(LeaderHistory leader, TimePoint deadline) override;
  Task<Result<void>> rewind(Upstream leader, Progress progress) override;
  [[nodiscard]] bool can_rewind() override;
  Task<Result<WalEnd>> find_wal_end(TimePoint deadline) override;
  Task<Result<void>> probe_writes(TimePoint deadline) override;
  Task<Result<void>> crash_recover(TimePoint deadline) override;
  Result<void> set_aside_data_directory() override;
  Task<Result<void>> remove_data_directory() override;
  void cancel_action() override;
  void run_callback(const std::string& action, const std::string& role) override;
  Task<Result<void>> pre_promote(TimePoint deadline) override;

  [[nodiscard]] std::int64_t postmaster_pid();  // 0: none

 private:
  using EffectivePtr = std::shared_ptr<const config::Effective>;  // a coroutine keeps the one it began with

  // local_postgres.cc
  [[nodiscard]] std::string program(const std::string& name) const;
  [[nodiscard]] std::string log_file() const;
  Result<void> occupy_timelines(Timeline taken);
  [[nodiscard]] bool has_file(const std::string& name) const;
  [[nodiscard]] Result<ControlFile> control() const;
  [[nodiscard]] ServerInputs inputs(const config::PostgresConfig& config, RunAs run) const;
  void postmaster_ended(bool expected);
  // start_stop.cc
  using BeforeExec = std::function<Result<void>(std::int64_t postmaster_pid)>;
  Task<Result<void>> start_with(ServerSettings settings, bool standby, BeforeExec before_exec, TimePoint deadline);
  Task<Result<void>> wait_ready(bool standby, std::int64_t log_offset, TimePoint deadline);
  Task<Result<void>> end_postmaster(TimePoint deadline);
  Task<Result<std::pair<RunAs, ServerSettings>>> settings_as_running(TimePoint deadline);
  // bootstrap.cc
  Task<Result<void>> initialise(Progress progress);
  Task<Result<void>> run_initdb();
  Task<Result<void>> run_bootstrap_method();
  Task<Result<void>> start_restored();
  Task<Result<void>> create_roles();
  Task<Result<void>> run_post_bootstrap();
  // base_backup.cc
  Task<Result<void>> base_backup(Upstream source, Progress progress);
  Task<Result<void>> replica_method(std::string name, std::optional<Upstream> source, Progress progress);
  Task<Result<void>> clear_directory();
  // rewind.cc
  Task<Result<Lsn>> record_end(Timeline timeline, Lsn start, TimePoint deadline);
  Task<Result<void>> archive_ready_segments();
  Task<Result<std::string>> configured_value(std::string setting);

  Clock& clock_;
  Log log_;
  Node node_;
  EffectivePtr effective_;
  std::string data_dir_;
  ActionRunner action_;
  Postmaster postmaster_;
  LocalSession session_;
  Monitor monitor_;
  Callbacks callbacks_;
  std::unique_ptr<WriteProbe> probe_;
  std::function<void(bool)> exit_handler_;
  std::optional<RunAs> last_run_;  // how the instance was last told to run; empty after an adoption
};

}  // namespace pgvigil::postgres
