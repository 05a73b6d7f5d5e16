#include "postgres/local_postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cctype>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "postgres/data_directory.h"
#include "postgres/rewind.h"
#include "postgres/server_processes.h"
#include "postgres/slots.h"
#include "postgres/wal_scan.h"

namespace pgvigil::postgres {

LocalPostgres::LocalPostgres(Clock& clock, Log log, Node node, config::Effective effective)
    : clock_(clock),
      log_(log.in_room("postgres")),
      node_(std::move(node)),
      effective_(std::make_shared<const config::Effective>(std::move(effective))),
      data_dir_(effective_->postgresql.data_dir),
      action_(clock),
      postmaster_(clock, log, data_dir_),
      session_(clock, effective_->postgresql),
      monitor_(log),
      callbacks_(clock, log) {
  std::error_code ignored;  // opening the log file tells what is wrong with it
  std::filesystem::create_directories(node_.runtime_dir, ignored);
  postmaster_.on_exit([this](bool expected) { postmaster_ended(expected); });
  postmaster_.adopt();
}

LocalPostgres::~LocalPostgres() = default;

void LocalPostgres::configure(config::Effective effective) {
  PGV_ASSERT(effective.postgresql.data_dir == data_dir_);
  effective_ = std::make_shared<const config::Effective>(std::move(effective));
  session_.configure(effective_->postgresql);
}

void LocalPostgres::postmaster_ended(bool expected) {
  session_.drop();
  monitor_.forget();
  if (exit_handler_) exit_handler_(expected);
}

void LocalPostgres::on_exit(std::function<void(bool expected)> handler) { exit_handler_ = std::move(handler); }

std::int64_t LocalPostgres::postmaster_pid() {
  postmaster_.adopt();
  return postmaster_.pid();
}

DataDirectory LocalPostgres::data_directory() { return inspect_data_directory(data_dir_); }

Result<ControlFile> LocalPostgres::control() const { return control_file(data_dir_, program("pg_controldata")); }

Result<ControlData> LocalPostgres::control_data() {
  return control().map([](ControlFile file) { return std::move(file.data); });
}

std::string LocalPostgres::program(const std::string& name) const {
  const auto& config = effective_->postgresql;
  const auto renamed = config.bin_name.find(name);
  const std::string& file = renamed == config.bin_name.end() ? name : renamed->second;
  return config.bin_dir.empty() || file.find('/') != std::string::npos ? file : config.bin_dir + "/" + file;
}

std::string LocalPostgres::log_file() const { return node_.runtime_dir + "/postgresql-" + node_.name.text() + ".log"; }

bool LocalPostgres::has_file(const std::string& name) const {
  return access((data_dir_ + "/" + name).c_str(), F_OK) == 0;
}

ServerInputs LocalPostgres::inputs(const config::PostgresConfig& config, RunAs run) const {
  const int connected = session_.server_version();
  ServerInputs result{config,         node_.name,
                      node_.scope,    connected != 0 ? connected : data_directory_version(data_dir_),
                      std::move(run), std::nullopt};
  if (result.run.standby) {
    if (auto file = control()) result.control = std::move(file->data);
  }
  return result;
}

Task<Instance> LocalPostgres::observe(TimePoint deadline) {
  Instance known;
  known.observed = clock_.now();
  known.data_directory = data_directory();
  known.standby_configured = has_file("standby.signal");
  known.half_rewound = is_half_rewound(data_dir_);
  if (auto file = control()) {
    known.system_id = file->data.system_id;
    known.timeline = file->data.timeline;
    known.control = std::move(file->data);
  }
  if (!postmaster_.adopt()) co_return known;
  const pid_t pid = postmaster_.pid();
  known.postmaster_pid = pid;
  Instance seen = co_await monitor_.read(session_, known, deadline);
  if (postmaster_.pid() != pid) {
    // It ended meanwhile: what it said last is not what it is.
    known.postmaster = PostmasterState::Stopped;
    known.postmaster_pid = 0;
    if (auto file = control()) known.control = std::move(file->data);
    co_return known;
  }
  if (seen.postmaster == PostmasterState::Running && seen.in_recovery) {
    const auto effective = effective_;
    RunAs standby;
    standby.standby = true;
    const auto settings = server_settings(inputs(effective->postgresql, std::move(standby)), "");
    for (const auto& [name, change] : settings.raised) seen.pending_restart.emplace(name, change);
  }
  co_return seen;
}

void LocalPostgres::kill_now() {
  if (postmaster_.kill_now()) return;
  log_.error("PostgreSQL in {} was sent SIGKILL, but not all of its processes have ended", data_dir_);
}

Task<Result<void>> LocalPostgres::checkpoint(TimePoint deadline) {
  PgConnection::Options options;
  options.statement_timeout = Duration{0};
  auto connection = co_await session_.open_another(options, deadline);
  if (!connection) co_return tl::make_unexpected(std::move(connection.error().error));
  std::string sql = "CHECKPOINT";
  Row none;
  auto done = co_await (*connection)->query(std::move(sql), std::move(none), deadline);
  if (!done) co_return tl::make_unexpected(std::move(done.error().error));
  co_return Result<void>();
}

Task<Result<void>> LocalPostgres::sync_slots(SlotPlan plan, TimePoint deadline) {
  if (!postmaster_.adopt()) co_return Result<void>();
  IgnoreRules ignore = effective_->ignore_slots;
  co_return co_await postgres::sync_slots(session_, log_, std::move(plan), std::move(ignore), deadline);
}

Task<Result<LeaderHistory>> LocalPostgres::ask_leader(Upstream leader, TimePoint deadline) {
  const auto effective = effective_;
  co_return co_await read_leader_history(clock_, effective->postgresql, std::move(leader), deadline);
}

Task<Result<std::vector<TimelineSwitch>>> LocalPostgres::local_history(Timeline timeline, TimePoint) {
  if (timeline.value() <= 1) co_return std::vector<TimelineSwitch>();
  const std::string path = fmt::format("{}/pg_wal/{:08X}.history", data_dir_, timeline.value());
  std::ifstream file(path);
  if (!file) co_return fail(Errc::NotFound, "cannot read the timeline history", path, errno_text(errno));
  std::ostringstream text;
  text << file.rdbuf();
  co_return parse_timeline_history(text.str());
}

Task<Result<void>> LocalPostgres::probe_writes(TimePoint deadline) {
  if (!probe_) probe_ = std::make_unique<WriteProbe>(clock_, data_dir_);
  co_return co_await probe_->run(deadline);
}

Task<Result<WalEnd>> LocalPostgres::find_wal_end(TimePoint deadline) {
  action_.begin();
  if (postmaster_.adopt())
    co_return fail(Errc::Refused, "cannot find the end of the WAL", data_dir_, "PostgreSQL runs");
  // Backends outlive a postmaster that was killed, for as long as they do not wait for anything.
  if (!kill_server(0, data_dir_)) {
    co_return fail(Errc::Failed, "cannot find the end of the WAL", data_dir_, "processes of the server are left");
  }
  const auto file = control();
  if (!file) co_return tl::make_unexpected(file.error());
  const auto found = std::make_shared<Result<WalEnd>>();
  const auto until = std::chrono::steady_clock::now() + (deadline - clock_.now());
  std::function<Result<void>()> work = [found, until, directory = data_dir_ + "/pg_wal", data = file->data] {
    *found = postgres::find_wal_end(directory, data.redo, data.timeline, until);
    return Result<void>();
  };
  PGV_CO_TRY_VOID(co_await action_.run_blocking(std::move(work)));
  co_return *found;
}

Task<Result<void>> LocalPostgres::remove_data_directory() {
  if (postmaster_.adopt())
    co_return fail(Errc::Refused, "cannot remove the data directory", data_dir_, "PostgreSQL runs in it");
  log_.warning("removing the content of the data directory {}", data_dir_);
  std::function<Result<void>()> work = [directory = data_dir_] { return remove_data_directory_content(directory); };
  co_return co_await action_.run_blocking(std::move(work));
}

void LocalPostgres::cancel_action() { action_.cancel(); }

void LocalPostgres::run_callback(const std::string& action, const std::string& role) {
  const auto& callbacks = effective_->postgresql.callbacks;
  const auto found = callbacks.find(action);
  if (found != callbacks.end() && !found->second.empty()) {
    callbacks_.run(found->second, action, role, node_.scope);
  }
}

Task<Result<void>> LocalPostgres::pre_promote(TimePoint deadline) {
  std::string command = effective_->postgresql.pre_promote;
  if (command.empty()) co_return Result<void>();
  std::string name = "pre_promote";
  co_return co_await run_hook(clock_, std::move(name), std::move(command), deadline);
}

}  // namespace pgvigil::postgres
