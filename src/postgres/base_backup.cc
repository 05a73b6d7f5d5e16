// Filling an empty data directory: pg_basebackup with progress, or a replica method of the operator's.
#include <filesystem>

#include "postgres/conninfo.h"
#include "postgres/data_directory.h"
#include "postgres/local_postgres.h"
#include "postgres/spawn.h"

namespace pgvigil::postgres {
namespace {

constexpr Duration kBetweenTries = std::chrono::seconds(5);

std::string human(double bytes) {
  const char* units[] = {"B", "kB", "MB", "GB", "TB"};
  std::size_t unit = 0;
  for (; bytes >= 1024 && unit < 4; ++unit) bytes /= 1024;
  return fmt::format("{:.1f} {}", bytes, units[unit]);
}

// pg_basebackup --progress prints "  123456/456789 kB (27%), 0/1 tablespace" after carriage returns.
std::string progress_text(std::string_view line, double seconds) {
  const auto slash = line.find('/');
  const auto unit = line.find(" kB (");
  if (slash == std::string_view::npos || unit == std::string_view::npos || slash > unit) return {};
  const auto begin = line.find_first_of("0123456789");
  if (begin == std::string_view::npos || begin > slash) return {};
  const double done = std::strtod(std::string(line.substr(begin, slash - begin)).c_str(), nullptr);
  const double total = std::strtod(std::string(line.substr(slash + 1, unit - slash - 1)).c_str(), nullptr);
  if (total <= 0) return {};
  const double share = std::min(1.0, done / total);
  std::string text = fmt::format("copied {:.0f} % of {}", share * 100, human(total * 1024));
  if (share > 0.01 && seconds > 1) text += fmt::format(", {:.0f} s left", seconds * (1 - share) / share);
  return text;
}

}  // namespace

Task<Result<void>> LocalPostgres::clear_directory() {
  std::function<Result<void>()> work = [directory = data_dir_]() -> Result<void> {
    PGV_TRY_VOID(remove_data_directory_content(directory));
    return create_data_directory(directory);
  };
  co_return co_await action_.run_blocking(std::move(work));
}

Task<Result<void>> LocalPostgres::base_backup(Upstream source, Progress progress) {
  const auto effective = effective_;
  const auto& config = effective->postgresql;
  const ConfFiles files(config);
  PGV_CO_TRY_VOID(files.write_pgpass(source).map([](bool) {}));
  Conninfo where = upstream_conninfo(config, config.replication, source, true);
  where.values["dbname"] = "replication";
  where.password = Secret();
  ChildSpec spec;
  spec.argv = {
      program("pg_basebackup"), "--pgdata=" + data_dir_, "-X", "stream", "--dbname=" + to_dsn(where), "--progress",
      "--no-password"};
  bool checkpoint_given = false;
  for (const auto& [name, value] : config.basebackup) {
    checkpoint_given = checkpoint_given || name == "checkpoint";
    spec.argv.push_back("--" + name + (value ? "=" + *value : ""));
  }
  if (!checkpoint_given) spec.argv.emplace_back("--checkpoint=fast");
  spec.environment = {{"PGPASSFILE", files.pgpass()}, {"LANG", "C"}, {"LC_ALL", "C"}};
  const TimePoint began = clock_.now();
  const auto on_line = [this, progress, began](std::string_view line) {
    const auto text = progress_text(line, seconds_of(clock_.now() - began));
    if (!text.empty() && progress) progress(text);
  };
  auto ended = co_await action_.run(std::move(spec), on_line, action_.no_deadline());
  if (!ended) co_return tl::make_unexpected(std::move(ended.error()));
  if (ended->ok()) co_return Result<void>();
  co_return fail(Errc::Failed, "pg_basebackup failed", fmt::format("{}:{}", source.host, source.port), ended->cause(),
                 hba_hint(ended->output));
}

Task<Result<void>> LocalPostgres::replica_method(std::string name, std::optional<Upstream> source, Progress progress) {
  const auto effective = effective_;
  const auto& config = effective->postgresql;
  const ConfFiles files(config);
  PGV_CO_TRY_VOID(files.write_pgpass(source).map([](bool) {}));
  std::map<std::string, std::string> section;
  if (const auto found = config.methods.find(name); found != config.methods.end()) section = found->second;
  std::string command = section.count("command") != 0 ? section["command"] : name;
  const bool no_params = section["no_params"] == "true" || section["no_params"] == "True";
  auto words = split_command(command);
  if (!words) co_return tl::make_unexpected(std::move(words.error()));
  ChildSpec spec;
  spec.argv = std::move(*words);
  for (const auto& [key, value] : section) {
    const bool special = key == "no_leader" || key == "keep_data" || key == "no_params";
    if (key == "command" || (special && (no_params || key == "no_params"))) continue;
    spec.argv.push_back(fmt::format("--{}={}", key, value == "true" ? "True" : value == "false" ? "False" : value));
  }
  if (!no_params) {
    std::string dsn;
    if (source) {
      Conninfo where = upstream_conninfo(config, config.replication, *source, true);
      where.values["dbname"] = "postgres";
      where.values.erase("replication");
      where.password = Secret();
      dsn = to_dsn(where);
    }
    spec.argv.push_back("--scope=" + node_.scope);
    spec.argv.emplace_back("--role=replica");
    spec.argv.push_back("--datadir=" + data_dir_);
    spec.argv.push_back("--connstring=" + dsn);
  }
  spec.environment = {{"PGPASSFILE", files.pgpass()}};
  if (progress) progress("running " + name);
  auto ended = co_await action_.run(std::move(spec), {}, action_.no_deadline());
  if (!ended) co_return tl::make_unexpected(std::move(ended.error()));
  if (!ended->ok()) co_return fail(Errc::Failed, "the replica method failed", name, ended->cause());
  co_return Result<void>();
}

Task<Result<void>> LocalPostgres::clone(std::optional<Upstream> source, bool only_basebackup, Progress progress) {
  action_.begin();
  if (postmaster_.adopt()) co_return fail(Errc::Refused, "cannot create a replica", data_dir_, "PostgreSQL runs");
  const auto effective = effective_;
  std::vector<std::string> methods = effective->postgresql.create_replica_methods;
  if (only_basebackup) methods = {"basebackup"};
  Result<void> last = fail(Errc::NotFound, "cannot create a replica", data_dir_,
                           "no method of create_replica_methods can be used without a leader");
  for (const auto& name : methods) {
    const auto found = effective->postgresql.methods.find(name);
    const auto truth = [&](const char* key) {
      if (found == effective->postgresql.methods.end()) return false;
      const auto value = found->second.find(key);
      return value != found->second.end() &&
             (value->second == "true" || value->second == "True" || value->second == "1");
    };
    if (!source && (name == "basebackup" || !truth("no_leader"))) continue;
    if (!truth("keep_data")) {
      auto cleared = co_await clear_directory();
      if (!cleared) co_return cleared;
    }
    mark_incomplete(data_dir_);
    for (int attempt = 0; attempt < (name == "basebackup" ? 2 : 1); ++attempt) {
      if (attempt > 0) {
        log_.warning("{}; trying again", last.error().message());
        co_await sleep_for(clock_, kBetweenTries);
        auto cleared = co_await clear_directory();
        if (!cleared) co_return cleared;
      }
      if (name == "basebackup") {
        last = co_await base_backup(*source, progress);
      } else {
        last = co_await replica_method(name, source, progress);
      }
      if (last || action_.cancelled()) break;
    }
    if (last) {
      clear_incomplete(data_dir_);
      clear_half_rewound(data_dir_);
      co_return ConfFiles(effective->postgresql).restore_missing();
    }
    if (action_.cancelled()) break;
    log_.error("{}", last.error().message());
  }
  // What is left is no cluster: the mark stays until it has been removed.
  auto cleared = co_await clear_directory();
  if (cleared) clear_incomplete(data_dir_);
  if (action_.cancelled()) last = action_.check();
  co_return last;
}

}  // namespace pgvigil::postgres
