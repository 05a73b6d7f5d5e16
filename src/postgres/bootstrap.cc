// Creating a cluster: initdb or the operator's method, roles, scripts.
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

#include "postgres/conninfo.h"
#include "postgres/data_directory.h"
#include "postgres/local_postgres.h"
#include "postgres/spawn.h"
#include "postgres/users.h"

namespace pgvigil::postgres {
namespace {

constexpr auto kEndMax = 10s;
constexpr Duration kStartMax = std::chrono::minutes(10);
constexpr Duration kRolesMax = std::chrono::minutes(1);

// A file with a secret that only we can read; removed with the object.
class SecretFile {
 public:
  static Result<std::unique_ptr<SecretFile>> make(const std::string& text) {
    std::string path = "/tmp/pgvigil-XXXXXX";
    Fd file(mkostemp(path.data(), O_CLOEXEC));
    if (!file.valid()) return fail(Errc::Failed, "cannot create a temporary file", path, errno_text(errno));
    auto secret = std::make_unique<SecretFile>(path);
    if (write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
      return fail(Errc::Failed, "cannot write a temporary file", path, errno_text(errno));
    }
    return secret;
  }
  explicit SecretFile(std::string path) : path_(std::move(path)) {}
  ~SecretFile() { unlink(path_.c_str()); }
  SecretFile(const SecretFile&) = delete;
  SecretFile& operator=(const SecretFile&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace

Task<Result<void>> LocalPostgres::bootstrap(Progress progress) {
  action_.begin();
  auto done = co_await initialise(std::move(progress));
  if (done) co_return done;
  if (postmaster_.adopt()) {
    postmaster_.expect_exit();
    const TimePoint deadline = clock_.now() + kEndMax;
    (void)co_await end_postmaster(deadline);
  }
  if (const auto aside = set_aside_data_directory(); !aside) {
    log_.error("{}", aside.error().message());
  } else if (done.error().remedy.empty()) {
    done.error().remedy = "the data directory was set aside as " + data_dir_ + ".failed";
  }
  co_return done;
}

Result<void> LocalPostgres::set_aside_data_directory() {
  if (postmaster_.adopt()) {
    return fail(Errc::Refused, "cannot set the data directory aside", data_dir_, "PostgreSQL runs in it");
  }
  auto done = postgres::set_aside_data_directory(data_dir_);
  clear_incomplete(data_dir_);
  return done;
}

Task<Result<void>> LocalPostgres::initialise(Progress progress) {
  const auto effective = effective_;
  const bool custom = node_.bootstrap.method != "initdb" && !node_.bootstrap.method.empty();
  if (progress) progress(custom ? "running custom bootstrap script" : "running initdb");
  PGV_CO_TRY_VOID(create_data_directory(data_dir_));
  mark_incomplete(data_dir_);
  if (custom) {
    PGV_CO_TRY_VOID(co_await run_bootstrap_method());
  } else {
    PGV_CO_TRY_VOID(co_await run_initdb());
  }
  const ConfFiles files(effective->postgresql);
  PGV_CO_TRY_VOID(files.prepare_new_cluster(node_.bootstrap.pg_hba));
  if (custom) {
    PGV_CO_TRY_VOID(co_await start_restored());
  } else {
    RunAs primary;
    const TimePoint deadline = clock_.now() + kStartMax;
    PGV_CO_TRY_VOID(co_await start(std::move(primary), deadline));
  }
  if (progress) progress("creating roles");
  PGV_CO_TRY_VOID(co_await create_roles());
  PGV_CO_TRY_VOID(files.save_backups());
  clear_incomplete(data_dir_);
  co_return Result<void>();
}

Task<Result<void>> LocalPostgres::run_initdb() {
  const auto effective = effective_;
  const auto& superuser = effective->postgresql.superuser;
  ChildSpec spec;
  spec.argv = {program("initdb"), "-D", data_dir_};
  bool has_auth = false;
  for (const auto& [name, value] : node_.bootstrap.initdb) {
    has_auth = has_auth || name.starts_with("auth");
    spec.argv.push_back("--" + name + (value ? "=" + *value : ""));
  }
  if (!superuser.username.empty()) spec.argv.push_back("--username=" + superuser.username);
  std::unique_ptr<SecretFile> password;
  if (!superuser.password.empty()) {
    auto made = SecretFile::make(superuser.password.reveal() + "\n");
    if (!made) co_return tl::make_unexpected(std::move(made.error()));
    password = std::move(*made);
    spec.argv.push_back("--pwfile=" + password->path());
    if (!has_auth) spec.argv.emplace_back("--auth=scram-sha-256");
  }
  spec.environment = {{"LC_MESSAGES", "C"}};
  auto ended = co_await action_.run(std::move(spec), {}, action_.no_deadline());
  if (!ended) co_return tl::make_unexpected(std::move(ended.error()));
  if (!ended->ok()) co_return fail(Errc::Failed, "initdb failed", data_dir_, ended->cause());
  co_return Result<void>();
}

Task<Result<void>> LocalPostgres::run_bootstrap_method() {
  const auto& section = node_.bootstrap.method_section;
  const auto command = section.find("command");
  if (command == section.end()) {
    co_return fail(Errc::InvalidConfig, "cannot create the cluster", "bootstrap." + node_.bootstrap.method,
                   "the section has no command");
  }
  auto words = split_command(command->second);
  if (!words) co_return tl::make_unexpected(std::move(words.error()));
  ChildSpec spec;
  spec.argv = std::move(*words);
  const auto no_params = section.find("no_params");
  if (no_params == section.end() || (no_params->second != "true" && no_params->second != "True")) {
    spec.argv.push_back("--scope=" + node_.scope);
    spec.argv.push_back("--datadir=" + data_dir_);
  }
  for (const auto& [key, value] : section) {
    if (key == "command" || key == "no_params" || key == "keep_existing_recovery_conf" || key == "recovery_conf" ||
        key == "scope" || key == "datadir") {
      continue;
    }
    spec.argv.push_back(fmt::format("--{}={}", key, value));
  }
  auto ended = co_await action_.run(std::move(spec), {}, action_.no_deadline());
  if (!ended) co_return tl::make_unexpected(std::move(ended.error()));
  if (!ended->ok()) co_return fail(Errc::Failed, "the bootstrap method failed", node_.bootstrap.method, ended->cause());
  co_return Result<void>();
}

// A restored backup may have to recover to a target first; it ends recovery by itself and becomes a primary.
Task<Result<void>> LocalPostgres::start_restored() {
  const auto effective = effective_;
  const ConfFiles files(effective->postgresql);
  RunAs primary;
  const auto server_inputs = inputs(effective->postgresql, primary);
  auto settings = server_settings(server_inputs, files.pgpass());
  settings.recovery = node_.bootstrap.method_recovery_conf;
  const bool recovers = !settings.recovery.empty();
  if (recovers) settings.recovery.try_emplace("recovery_target_action", "promote");
  PGV_CO_TRY_VOID(files.write(server_inputs, settings).map([](bool) {}));
  PGV_CO_TRY_VOID(files.write_trusting_hba());
  if (recovers) PGV_CO_TRY_VOID(replace_file(data_dir_ + "/recovery.signal", "", 0600).map([](bool) {}));
  const TimePoint deadline = action_.no_deadline();
  PGV_CO_TRY_VOID(co_await start_with(std::move(settings), false, nullptr, deadline));
  for (;;) {
    const TimePoint look = clock_.now() + 3s;
    const Instance seen = co_await observe(look);
    if (seen.running_as_primary()) break;
    if (seen.postmaster == PostmasterState::Stopped) {
      co_return fail(Errc::Failed, "PostgreSQL ended during the recovery of the new cluster", data_dir_,
                     last_errors(log_file(), 0));
    }
    PGV_CO_TRY_VOID(action_.check());
    co_await sleep_for(clock_, std::chrono::milliseconds(200));
  }
  PGV_CO_TRY_VOID(files.prepare_new_cluster(node_.bootstrap.pg_hba));
  co_return Result<void>();
}

Task<Result<void>> LocalPostgres::create_roles() {
  const auto effective = effective_;
  const auto& config = effective->postgresql;
  const TimePoint deadline = clock_.now() + kRolesMax;
  {
    auto options = role_session_options();
    auto connection = co_await session_.open_another(std::move(options), deadline);
    if (!connection) co_return tl::make_unexpected(std::move(connection.error().error));
    PGV_CO_TRY_VOID(co_await set_superuser_password(**connection, config.superuser, deadline));
    PGV_CO_TRY_VOID(co_await create_bootstrap_users(**connection, node_.bootstrap.users, deadline));
  }
  PGV_CO_TRY_VOID(co_await run_post_bootstrap());
  auto options = role_session_options();
  auto connection = co_await session_.open_another(std::move(options), deadline);
  if (!connection) co_return tl::make_unexpected(std::move(connection.error().error));
  PGV_CO_TRY_VOID(co_await create_replication_user(**connection, config.replication, deadline));
  co_return co_await create_rewind_user(**connection, config.rewind, deadline);
}

Task<Result<void>> LocalPostgres::run_post_bootstrap() {
  if (node_.bootstrap.post_bootstrap.empty()) co_return Result<void>();
  const auto effective = effective_;
  auto words = split_command(node_.bootstrap.post_bootstrap);
  if (!words) co_return tl::make_unexpected(std::move(words.error()));
  const ConfFiles files(effective->postgresql);
  Conninfo local = local_conninfo(effective->postgresql, effective->postgresql.superuser, false);
  local.password = Secret();
  ChildSpec spec;
  spec.argv = std::move(*words);
  spec.argv.push_back(to_dsn(local));
  spec.environment = {{"PGPASSFILE", files.pgpass()},
                      {"PGOPTIONS", "-c synchronous_commit=local -c statement_timeout=0"}};
  auto ended = co_await action_.run(std::move(spec), {}, action_.no_deadline());
  if (!ended) co_return tl::make_unexpected(std::move(ended.error()));
  if (!ended->ok()) co_return fail(Errc::Failed, "bootstrap.post_bootstrap failed", {}, ended->cause());
  co_return Result<void>();
}

}  // namespace pgvigil::postgres
