#include "postgres/rewind.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "postgres/conninfo.h"
#include "postgres/data_directory.h"
#include "postgres/local_postgres.h"
#include "postgres/server_processes.h"

namespace pgvigil::postgres {
namespace {

RewindVerdict verdict(RewindVerdict::Kind kind, std::string reason, WalBytes diverged = WalBytes{0}) {
  return {kind, std::move(reason), diverged};
}

std::map<std::string, std::string> tool_environment(const std::string& pgpass) {
  return {{"PGPASSFILE", pgpass}, {"LANG", "C"}, {"LC_ALL", "C"}, {"PGOPTIONS", "-c statement_timeout=0"}};
}

}  // namespace

std::optional<LocalEnd> local_end(const ControlData& control) {
  switch (control.state) {
    case ControlState::ShutDown: return LocalEnd{control.timeline, control.checkpoint, true, {}};
    case ControlState::ShutDownInRecovery:
    case ControlState::InArchiveRecovery:
      if (!control.min_recovery_end.known()) return LocalEnd{control.timeline, control.checkpoint, true, {}};
      return LocalEnd{std::max(control.timeline, control.min_recovery_timeline), control.min_recovery_end, false, {}};
    default: return std::nullopt;
  }
}

RewindVerdict compare_histories(const LocalEnd& local, const LeaderHistory& leader) {
  using Kind = RewindVerdict::Kind;
  const auto mine = local.timeline.value();
  const auto theirs = leader.timeline.value();
  if (local.timeline == leader.timeline) {
    return verdict(Kind::NotNeeded, fmt::format("both are on timeline {}", mine));
  }
  if (local.timeline > leader.timeline) {
    return verdict(Kind::Needed, fmt::format("local timeline {} is ahead of the leader's timeline {}", mine, theirs));
  }
  const auto left = std::find_if(leader.switches.begin(), leader.switches.end(),
                                 [&](const TimelineSwitch& s) { return s.timeline == local.timeline; });
  if (left == leader.switches.end()) {
    return verdict(Kind::Needed,
                   fmt::format("local timeline {} is not in the history of the leader's timeline {}", mine, theirs));
  }
  const Lsn at = left->switch_point;
  const Lsn end = local.as_primary && local.record_end.known() ? local.record_end : local.position;
  const auto text =
      fmt::format("local timeline {} ends at {}, the leader left it at {}", mine, to_string(end), to_string(at));
  if (!local.as_primary) {
    return end > at ? verdict(Kind::Needed, text, end - at) : verdict(Kind::NotNeeded, text);
  }
  // The switch point is where the last common record ends. A clean shutdown's checkpoint record that ends right there
  // was received by the leader in full; a record that starts there, or ends later, was not.
  if (local.position >= at) return verdict(Kind::Needed, text, end - at);
  if (!local.record_end.known())
    return verdict(Kind::Unknown, text + "; the end of the last checkpoint's record is not known");
  return local.record_end == at ? verdict(Kind::NotNeeded, text) : verdict(Kind::Needed, text, WalBytes{0});
}

RewindVerdict compare_while_starting(const ControlData& control, const LeaderHistory& leader) {
  using Kind = RewindVerdict::Kind;
  const auto end = control.state == ControlState::InArchiveRecovery ? local_end(control) : std::nullopt;
  if (!end) return verdict(Kind::Unknown, "the server is starting and does not tell its timeline");
  auto compared = compare_histories(*end, leader);
  if (compared.kind == Kind::NotNeeded) compared.kind = Kind::Unknown;
  return compared;
}

bool LocalPostgres::can_rewind() {
  const auto& config = effective_->postgresql;
  if (!config.use_pg_rewind) return false;
  const auto file = control();
  return file && (file->data.wal_log_hints || file->data.data_checksums);
}

// The end of the record at `start`, by pg_waldump; unknown if that cannot be told.
Task<Result<Lsn>> LocalPostgres::record_end(Timeline timeline, Lsn start, TimePoint deadline) {
  ChildSpec spec;
  spec.argv = {program("pg_waldump"),
               "--path",
               data_dir_ + "/pg_wal",
               "--timeline",
               std::to_string(timeline.value()),
               "--start",
               to_string(start),
               "--limit",
               "2"};
  spec.environment = tool_environment({});
  auto ended = co_await run_program(clock_, std::move(spec), deadline);
  if (!ended) co_return tl::make_unexpected(std::move(ended.error()));
  // "rmgr: XLOG len (rec/tot): 114/ 114, tx: 0, lsn: 0/05000028, prev 0/04FFFFB8, desc: CHECKPOINT_SHUTDOWN ...". After
  // the last record the tool reports an invalid one "at 0/50000A0", which is where WAL ends.
  std::istringstream lines(ended->output);
  for (std::string line; std::getline(lines, line);) {
    if (const auto lsn_at = line.find("lsn: "); lsn_at != std::string::npos && line.rfind("rmgr:", 0) == 0) {
      const auto lsn = parse_lsn(line.substr(lsn_at + 5, line.find(',', lsn_at) - lsn_at - 5));
      if (lsn && *lsn > start) co_return *lsn;
      const auto total_at = line.find('/', line.find("len (rec/tot):") + 14);
      if (lsn && *lsn == start && total_at != std::string::npos) {
        const auto length = std::strtoull(line.c_str() + total_at + 1, nullptr, 10);
        const auto end = (start.value() + length + 7) / 8 * 8;  // records are aligned to eight bytes
        // A record that crosses a page has page headers inside; those are rare here and make the answer "not equal".
        co_return Lsn(end);
      }
    }
  }
  co_return fail(Errc::NotFound, "cannot find the last checkpoint's record", data_dir_, ended->cause());
}

Task<RewindVerdict> LocalPostgres::rewind_needed(LeaderHistory leader, TimePoint deadline) {
  using Kind = RewindVerdict::Kind;
  const auto file = control();
  if (!file) co_return verdict(Kind::Unknown, file.error().message());
  if (leader.system_id != file->data.system_id) {
    co_return verdict(Kind::Unknown, fmt::format("the leader's database system is {}, this one's {}",
                                                 leader.system_id.text(), file->data.system_id.text()));
  }
  LocalEnd local;
  if (postmaster_.adopt()) {
    Instance known;
    known.control = file->data;
    const Instance running = co_await monitor_.read(session_, std::move(known), deadline);
    if (running.postmaster == PostmasterState::Starting) co_return compare_while_starting(file->data, leader);
    if (running.postmaster != PostmasterState::Running || !running.in_recovery || !running.timeline.known()) {
      co_return verdict(Kind::Unknown, "the running server does not tell its timeline");
    }
    local = LocalEnd{running.timeline, running.replayed, false, {}};
  } else {
    const auto end = local_end(file->data);
    if (!end)
      co_return verdict(Kind::Unknown,
                        fmt::format("the state `{}` does not tell where WAL ends", to_string(file->data.state)));
    local = *end;
    if (local.as_primary && local.timeline < leader.timeline) {
      const auto record = co_await record_end(local.timeline, local.position, deadline);
      if (record) local.record_end = *record;
    }
  }
  co_return compare_histories(local, leader);
}

Task<Result<std::string>> LocalPostgres::configured_value(std::string setting) {
  ChildSpec spec;
  spec.argv = {program("postgres"), "-D",
               data_dir_,           "-C",
               std::move(setting),  "--config-file=" + ConfFiles(effective_->postgresql).postgresql_conf()};
  spec.environment = tool_environment({});
  const TimePoint deadline = clock_.now() + 10s;
  auto ended = co_await action_.run(std::move(spec), {}, deadline);
  if (!ended) co_return tl::make_unexpected(std::move(ended.error()));
  std::string text = ended->ok() ? ended->output : std::string();
  while (!text.empty() && text.back() == '\n') text.pop_back();
  co_return text;
}

// What is ready to be archived and not archived yet may exist nowhere else; pg_rewind removes it.
Task<Result<void>> LocalPostgres::archive_ready_segments() {
  std::string setting = "archive_command";
  auto command = co_await configured_value(std::move(setting));
  if (!command || command->empty() || *command == "(disabled)") co_return Result<void>();
  std::error_code ignored;
  const std::filesystem::path status = data_dir_ + "/pg_wal/archive_status";
  for (const auto& entry : std::filesystem::directory_iterator(status, ignored)) {
    if (entry.path().extension() != ".ready") continue;
    const std::string segment = entry.path().stem().string();
    std::string line;
    for (std::size_t i = 0; i < command->size(); ++i) {
      const char next = i + 1 < command->size() ? (*command)[i + 1] : '\0';
      if ((*command)[i] != '%') {
        line += (*command)[i];
        continue;
      }
      ++i;
      if (next == 'p') line += "pg_wal/" + segment;
      if (next == 'f') line += segment;
      if (next == '%') line += '%';
    }
    ChildSpec spec;
    spec.argv = {"/bin/sh", "-c", line};
    spec.directory = data_dir_;
    auto ended = co_await action_.run(std::move(spec), {}, action_.no_deadline());
    if (!ended) co_return tl::make_unexpected(std::move(ended.error()));
    if (!ended->ok()) {
      log_.warning("segment {} could not be archived before pg_rewind: {}", segment, ended->cause());
      continue;
    }
    std::filesystem::rename(entry.path(), status / (segment + ".done"), ignored);
  }
  co_return Result<void>();
}

Task<Result<void>> LocalPostgres::rewind(Upstream leader, Progress progress) {
  action_.begin();
  if (postmaster_.adopt()) co_return fail(Errc::Refused, "cannot run pg_rewind", data_dir_, "PostgreSQL runs");
  const auto effective = effective_;
  const auto& config = effective->postgresql;
  const ConfFiles files(config);
  PGV_CO_TRY_VOID(files.write_pgpass(leader).map([](bool) {}));
  PGV_CO_TRY_VOID(co_await archive_ready_segments());
  Conninfo source = upstream_conninfo(config, rewind_credentials(config), leader, false);
  source.password = Secret();
  ChildSpec spec;
  spec.argv = {program("pg_rewind"), "-D",           data_dir_,
               "--source-server",    to_dsn(source), "--config-file=" + files.postgresql_conf()};
  if (data_directory_version(data_dir_) < 150000) spec.argv.pop_back();  // the option is of version 15
  std::string setting = "restore_command";
  const auto restore = co_await configured_value(std::move(setting));
  if (restore && !restore->empty()) spec.argv.emplace_back("--restore-target-wal");
  for (const auto& [name, value] : config.rewind_options)
    spec.argv.push_back("--" + name + (value ? "=" + *value : ""));
  spec.environment = tool_environment(files.pgpass());
  if (progress) progress("pg_rewind is running");
  mark_half_rewound(data_dir_);
  auto ended = co_await action_.run(std::move(spec), {}, action_.no_deadline());
  if (!ended) co_return tl::make_unexpected(std::move(ended.error()));
  if (!ended->ok()) {
    // Errors before the first write leave the directory as it was; the tool says so by what it printed last.
    if (ended->output.find("Done!") == std::string::npos &&
        ended->output.find("creating backup label") == std::string::npos &&
        ended->output.find("could not") != std::string::npos &&
        ended->output.find("rewinding from") == std::string::npos) {
      clear_half_rewound(data_dir_);
    }
    co_return fail(Errc::Failed, "pg_rewind failed", data_dir_, ended->cause(),
                   "look at the leader's log; reinitialize this member if it stays");
  }
  clear_half_rewound(data_dir_);
  co_return Result<void>();
}

Task<Result<void>> LocalPostgres::crash_recover(TimePoint deadline) {
  action_.begin();
  if (postmaster_.adopt()) co_return fail(Errc::Refused, "cannot do crash recovery", data_dir_, "PostgreSQL runs");
  const auto effective = effective_;
  const ConfFiles files(effective->postgresql);
  PGV_CO_TRY_VOID(files.set_standby_signal(false).map([](bool) {}));
  if (!kill_server(0, data_dir_))
    co_return fail(Errc::Failed, "cannot do crash recovery", data_dir_, "old processes are left");
  ChildSpec spec;
  spec.argv = {program("postgres"),
               "--single",
               "-D",
               data_dir_,
               "--config-file=" + files.postgresql_conf(),
               "-c",
               "archive_mode=on",
               "-c",
               "archive_command=false",
               "template1"};
  spec.environment = tool_environment({});
  auto ended = co_await action_.run(std::move(spec), {}, deadline);
  if (!ended) co_return tl::make_unexpected(std::move(ended.error()));
  if (!ended->ok())
    co_return fail(Errc::Failed, "crash recovery in single-user mode failed", data_dir_, ended->cause());
  co_return Result<void>();
}

}  // namespace pgvigil::postgres
