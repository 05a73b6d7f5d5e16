// Starting, stopping, promoting and reconfiguring: the part of LocalPostgres that moves the postmaster.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "postgres/conf_files.h"
#include "postgres/data_directory.h"
#include "postgres/local_postgres.h"
#include "postgres/pending_restart.h"
#include "postgres/spawn.h"

namespace pgvigil::postgres {

namespace {

constexpr Duration kPoll = 20ms;
// A standby that replays is given this long to become readable before start() returns without that.
constexpr Duration kReadableGrace = 1s;
// From SIGQUIT to SIGKILL: backends need milliseconds for an immediate shutdown, if they run at all.
constexpr Duration kImmediateGrace = 1s;

struct FileTime {
  std::int64_t seconds = 0, nanoseconds = 0;
  std::int64_t size = 0;
  friend bool operator==(const FileTime&, const FileTime&) = default;
};

FileTime file_time(const std::string& path) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) return {};
  return {info.st_mtim.tv_sec, info.st_mtim.tv_nsec, info.st_size};
}

}  // namespace

Task<Result<void>> LocalPostgres::start(RunAs run, TimePoint deadline) {
  action_.begin();
  if (is_half_rewound(data_dir_)) {
    co_return fail(Errc::Refused, "PostgreSQL is not started", data_dir_,
                   "a pg_rewind of this directory did not come to its end, its pages are of two histories",
                   "rewind it again or reinitialise this member");
  }
  const auto effective = effective_;
  const bool standby = run.standby;
  const ConfFiles files(effective->postgresql);
  const auto server_inputs = inputs(effective->postgresql, run);
  auto settings = server_settings(server_inputs, files.pgpass());
  PGV_CO_TRY_VOID(files.write(server_inputs, settings).map([](bool) {}));
  BeforeExec before_exec = std::move(run.before_exec);
  run.before_exec = nullptr;
  last_run_ = std::move(run);
  co_return co_await start_with(std::move(settings), standby, std::move(before_exec), deadline);
}

Task<Result<void>> LocalPostgres::start_with(ServerSettings settings, bool standby, BeforeExec before_exec,
                                             TimePoint deadline) {
  const auto effective = effective_;
  session_.drop();
  monitor_.forget();
  Postmaster::StartOptions options;
  options.program = program("postgres");
  options.arguments = {"--config-file=" + ConfFiles(effective->postgresql).postgresql_conf()};
  options.arguments.insert(options.arguments.end(), settings.command_line.begin(), settings.command_line.end());
  options.log_file = log_file();
  options.krbsrvname = effective->postgresql.krbsrvname;
  options.before_exec = std::move(before_exec);
  const std::int64_t log_offset = file_time(options.log_file).size;
  PGV_CO_TRY_VOID(postmaster_.start(options));
  co_return co_await wait_ready(standby, log_offset, deadline);
}

Task<Result<void>> LocalPostgres::wait_ready(bool standby, std::int64_t log_offset, TimePoint deadline) {
  const std::string control_path = data_dir_ + "/global/pg_control";
  const FileTime control_before = file_time(control_path);
  std::optional<TimePoint> replaying_since;
  for (;;) {
    if (!postmaster_.running()) {
      co_return fail(Errc::Failed, "PostgreSQL ended while it started", data_dir_, last_errors(log_file(), log_offset),
                     "see " + log_file() + " and the server's own log");
    }
    const std::string status = postmaster_.status();
    if (status == "ready" || (standby && status == "standby")) co_return Result<void>();
    if (action_.cancelled()) {
      kill_now();
      co_return action_.check();
    }
    if (standby && !replaying_since && file_time(control_path) != control_before) {
      const auto file = control();
      if (file && file->data.state == ControlState::InArchiveRecovery) replaying_since = clock_.now();
    }
    const TimePoint now = clock_.now();
    if (replaying_since && now - *replaying_since >= kReadableGrace) co_return Result<void>();
    if (now >= deadline) {
      co_return fail(Errc::Timeout, "PostgreSQL is still starting", data_dir_,
                     status.empty() ? "no status yet" : status);
    }
    co_await postmaster_.wait_exit(std::min(deadline, now + kPoll));
  }
}

Task<Result<void>> LocalPostgres::stop(StopMode mode, TimePoint deadline, std::function<void(Lsn)> checkpoint_done) {
  if (!postmaster_.adopt()) co_return Result<void>();
  std::string before_stop = effective_->postgresql.before_stop;
  if (!before_stop.empty() && mode == StopMode::Fast) {
    std::string name = "before_stop";
    const auto ran = co_await run_hook(clock_, std::move(name), std::move(before_stop), deadline);
    if (!ran) log_.warning("{}; PostgreSQL is stopped all the same", ran.error().message());
    if (!postmaster_.running()) co_return Result<void>();
  } else if (!before_stop.empty()) {
    callbacks_.run(before_stop, "before_stop", "", node_.scope);  // an immediate stop waits for nobody
  }
  const pid_t pid = postmaster_.pid();
  postmaster_.expect_exit();
  if (mode == StopMode::Immediate) co_return co_await end_postmaster(deadline);

  postmaster_.signal(SIGINT);
  bool told = !checkpoint_done;
  const auto tell_checkpoint = [&] {
    if (told) return;
    const auto file = control();
    if (!file || file->data.state != ControlState::ShutDown) return;
    told = true;
    checkpoint_done(file->data.checkpoint);
  };
  for (;;) {
    const TimePoint now = clock_.now();
    const bool ended = co_await postmaster_.wait_exit(std::min(deadline, now + kPoll));
    tell_checkpoint();
    if (ended || postmaster_.pid() != pid) co_return Result<void>();
    if (clock_.now() >= deadline) break;
  }
  log_.warning("PostgreSQL did not stop in time; it is stopped at once, without waiting for its clients or replicas");
  co_return co_await end_postmaster(clock_.now() + kImmediateGrace);
}

// SIGQUIT, then at the deadline (but not later than the grace period) SIGKILL to all of it.
Task<Result<void>> LocalPostgres::end_postmaster(TimePoint deadline) {
  postmaster_.signal(SIGQUIT);
  const TimePoint patience = std::min(deadline, clock_.now() + kImmediateGrace);
  if (co_await postmaster_.wait_exit(patience)) co_return Result<void>();
  log_.warning("PostgreSQL does not obey SIGQUIT; it is killed");
  kill_now();
  if (co_await postmaster_.wait_exit(clock_.now() + 5s)) co_return Result<void>();
  co_return fail(Errc::Timeout, "PostgreSQL cannot be killed", data_dir_, "its postmaster is still there",
                 "look for processes in state D; the storage may hang");
}

Task<Result<void>> LocalPostgres::promote(Timeline taken, TimePoint) {
  if (!postmaster_.adopt())
    co_return fail(Errc::Unavailable, "cannot promote PostgreSQL", data_dir_, "it does not run");
  const auto file = control();
  if (file && file->data.state == ControlState::InProduction) {
    co_return fail(Errc::Refused, "cannot promote PostgreSQL", data_dir_, "it is not in recovery");
  }
  PGV_CO_TRY_VOID(occupy_timelines(taken));
  // What pg_ctl promote does since version 12 (PROMOTE_SIGNAL_FILE), without the program.
  const std::string path = data_dir_ + "/promote";
  Fd signal_file(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  if (!signal_file.valid()) co_return fail(Errc::Failed, "cannot promote PostgreSQL", path, errno_text(errno));
  signal_file.reset();
  if (!postmaster_.signal(SIGUSR1)) {
    unlink(path.c_str());
    co_return fail(Errc::Failed, "cannot promote PostgreSQL", data_dir_, "its postmaster has just ended");
  }
  co_return Result<void>();
}

// PostgreSQL begins the first timeline that it finds no history file of, above its own. A file that holds only a
// comment occupies a number without being taken for a timeline to follow (its parents do not include ours), and
// walreceivers of other servers, which ask for the file of every number in between, get it.
Result<void> LocalPostgres::occupy_timelines(Timeline taken) {
  const auto file = control();
  if (!file) return {};
  const std::uint32_t own = std::max(file->data.timeline, file->data.min_recovery_timeline).value();
  for (std::uint32_t number = own + 1; number <= taken.value(); ++number) {
    const std::string name = fmt::format("pg_wal/{:08X}.history", number);
    if (has_file(name)) continue;
    log_.info("timeline {} may have been begun elsewhere: leaving its number out", number);
    PGV_TRY_VOID(
        replace_file(data_dir_ + "/" + name, "# begun by another server, whose end of it is not known here\n", 0600));
  }
  return {};
}

Task<Result<bool>> LocalPostgres::reconfigure(RunAs run, TimePoint deadline) {
  if (!postmaster_.adopt()) {
    co_return fail(Errc::Unavailable, "cannot reconfigure PostgreSQL", data_dir_, "it does not run");
  }
  const auto effective = effective_;
  std::string sql = "SELECT pg_is_in_recovery() AS in_recovery";
  Row none;
  const auto answer = co_await session_.query(std::move(sql), std::move(none), deadline);
  if (!answer) co_return tl::make_unexpected(answer.error().error);
  const bool in_recovery = answer->text(0, "in_recovery") == "t";
  if (in_recovery != run.standby) {
    if (in_recovery) {
      // A promotion that has not ended yet: taking standby.signal away now would make a crash in between end recovery
      // where nobody expects it. The caller comes again when recovery has ended.
      co_return fail(Errc::Refused, "cannot configure PostgreSQL as a primary", data_dir_, "it is still in recovery");
    }
    co_return true;
  }
  const ConfFiles files(effective->postgresql);
  const auto server_inputs = inputs(effective->postgresql, run);
  auto settings = server_settings(server_inputs, files.pgpass());
  bool restart = false;
  bool reload = false;
  if (run.standby) {
    restart = !has_file("standby.signal");
    const auto running = co_await read_recovery_settings(session_, deadline);
    if (!running) co_return tl::make_unexpected(running.error());
    const auto change = compare_recovery(*running, settings.recovery, server_inputs.server_version);
    restart = restart || change == RecoveryChange::Restart;
    reload = change == RecoveryChange::Reload;
  }
  auto changed = files.write(server_inputs, settings);
  if (!changed) co_return tl::make_unexpected(std::move(changed.error()));
  last_run_ = std::move(run);
  if (*changed || reload) postmaster_.signal(SIGHUP);
  co_return restart;
}

// How the running server was told to run: by this agent, or, after an adoption, as its own settings say. Those stay in
// force until reconfigure(): rewriting the files of an adopted standby must not lose its upstream.
Task<Result<std::pair<RunAs, ServerSettings>>> LocalPostgres::settings_as_running(TimePoint deadline) {
  const auto effective = effective_;
  const std::string pgpass = ConfFiles(effective->postgresql).pgpass();
  const bool standby = has_file("standby.signal");
  if (last_run_) {
    RunAs run = *last_run_;
    run.standby = standby;  // promotion ends it
    if (!standby) run.upstream.reset();
    auto settings = server_settings(inputs(effective->postgresql, run), pgpass);
    co_return std::pair(std::move(run), std::move(settings));
  }
  RunAs run;
  run.standby = standby;
  std::string sql = "SELECT current_setting('synchronous_standby_names') AS names";
  Row none;
  const auto answer = co_await session_.query(std::move(sql), std::move(none), deadline);
  if (!answer) co_return tl::make_unexpected(answer.error().error);
  run.synchronous_standby_names = answer->text(0, "names");
  auto settings = server_settings(inputs(effective->postgresql, run), pgpass);
  if (standby) {
    const auto running = co_await read_recovery_settings(session_, deadline);
    if (!running) co_return tl::make_unexpected(running.error());
    for (const auto& [name, value] : running->settings) settings.recovery[name] = value;
  }
  co_return std::pair(std::move(run), std::move(settings));
}

Task<Result<void>> LocalPostgres::reload(TimePoint deadline) {
  if (!postmaster_.adopt()) co_return Result<void>();
  const auto effective = effective_;
  auto as_running = co_await settings_as_running(deadline);
  if (!as_running) co_return tl::make_unexpected(std::move(as_running.error()));
  const ConfFiles files(effective->postgresql);
  const auto server_inputs = inputs(effective->postgresql, as_running->first);
  PGV_CO_TRY_VOID(files.write(server_inputs, as_running->second).map([](bool) {}));
  if (!postmaster_.signal(SIGHUP)) {
    co_return fail(Errc::Unavailable, "cannot reload PostgreSQL", data_dir_, "its postmaster has just ended");
  }
  co_return Result<void>();
}

}  // namespace pgvigil::postgres
