#include "pool/run_pool.h"

#include <ares.h>
#include <openssl/crypto.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "pool/daemon.h"
#include "pool/load_running_config.h"
#include "pool/pool_process.h"

namespace pgvigil::pool {
namespace {

constexpr int kWorkersMax = 256;

std::size_t worker_count(const poolcfg::Settings& settings) {
  int count = settings.workers;
  if (count <= 0) {
    // The cores that we may use, which in a container are fewer than the machine's.
    cpu_set_t cores;
    count = sched_getaffinity(0, sizeof cores, &cores) == 0 ? CPU_COUNT(&cores) : 1;
  }
  return static_cast<std::size_t>(std::clamp(count, 1, kWorkersMax));
}

// What the start has made so far; its parts end with the process.
struct Start {
  const PoolOptions& options;
  PoolLog log{};
  std::shared_ptr<RunningConfig> config{};
  Background background{};
  std::optional<PidFile> pid_file{};
  std::optional<Takeover> takeover{};
  std::vector<ListenSocket> sockets{};
  std::unique_ptr<PoolProcess> process{};

  // The second set of listeners, in a cluster.
  [[nodiscard]] int read_port() const {
    const auto& cluster = config->file.cluster;
    return cluster ? cluster->read_port : 0;
  }
  [[nodiscard]] poolcfg::Settings for_reads() const {
    poolcfg::Settings settings = config->settings();
    settings.listen_port = read_port();
    return settings;
  }
  Result<void> read_config();
  Result<void> look_for_others();
  Result<void> open_sockets(std::vector<ListenSocket> passed);
  Result<void> prepare();
  Result<void> go();
};

Result<void> Start::read_config() {
  auto read = load_running_config(options.file, nullptr);
  if (!read) {
    Error error = read.error();
    log.put(Level::Error, "{}", error.message());
    return fail(Errc::InvalidConfig, "cannot load config file", options.file);
  }
  config = std::move(*read);
  poolcfg::Settings& settings = config->file.settings;
  if (!options.user.empty()) settings.user = options.user;
  settings.verbose += options.verbose;
  if (options.daemon && settings.pidfile.empty()) {
    return fail(Errc::InvalidConfig, "daemon needs pidfile configured", {}, {}, "set pidfile in the configuration");
  }
  return {};
}

Result<void> Start::look_for_others() {
  const poolcfg::Settings& settings = config->settings();
  pid_file.emplace(settings.pidfile);
  if (options.take_over) {
    const std::string path = handover_path(settings);
    if (path.empty()) {
      return fail(Errc::InvalidConfig, "-R needs a place to meet the running pooler", {}, {},
                  "set unix_socket_dir or pidfile");
    }
    auto begun = Takeover::begin(path);
    if (begun) {
      takeover.emplace(std::move(*begun));
      return {};
    }
    if (begun.error().code != Errc::NotFound) return tl::make_unexpected(std::move(begun.error()));
    log.put(Level::Log, "old process not found, try to continue normally");
  }
  PGV_TRY_VOID(check_unix_socket_free(settings));
  if (read_port() != 0) PGV_TRY_VOID(check_unix_socket_free(for_reads()));
  return pid_file->check();
}

Result<void> Start::open_sockets(std::vector<ListenSocket> passed) {
  const poolcfg::Settings& settings = config->settings();
  if (takeover) passed = std::move(takeover->sockets);
  const bool from_manager = std::any_of(passed.begin(), passed.end(), [](const ListenSocket& socket) {
    return socket.origin() == ListenSocket::Origin::ServiceManager;
  });
  if (from_manager) {
    if (!settings.listen_addr.empty()) {
      log.put(Level::Warning,
              "sockets were passed by the service manager: listen_addr and unix_socket_dir are not used");
    }
    sockets = std::move(passed);
    return {};
  }
  PGV_TRY(opened, open_listen_sockets(settings, log, passed));
  sockets = std::move(opened);
  if (read_port() == 0) return {};
  PGV_TRY(reads, open_listen_sockets(for_reads(), log, passed));
  for (auto& socket : reads) sockets.push_back(std::move(socket));
  return {};
}

Result<void> Start::prepare() {
  // Before the files are read: a SIGHUP that comes now is for what changes from here on.
  PGV_TRY(signals, SignalSource::make());
  PGV_TRY_VOID(read_config());
  PGV_TRY_VOID(become_user(config->settings().user));
  // Only now: a file that root had made could not be opened anew for a rotation.
  PGV_TRY_VOID(log.configure(log_target(config->settings(), options.quiet)));
  log_warnings(*config, log);
  set_limits(*config, log);
  // Before the fork: they are addressed to this process number.
  auto passed = passed_listen_sockets(log);
  PGV_TRY_VOID(look_for_others());
  if (options.daemon) PGV_TRY_VOID(background.enter());
  PGV_TRY_VOID(open_sockets(std::move(passed)));
  if (!takeover) PGV_TRY_VOID(pid_file->write());
  const auto backend = config->settings().io_backend == "epoll" ? netio::Backend::Epoll : netio::Backend::Auto;
  PGV_TRY(loop, netio::make_loop({backend}));
  process = std::make_unique<PoolProcess>(options, config, log, std::move(loop), worker_count(config->settings()),
                                          std::move(sockets), std::move(signals));
  return {};
}

Result<void> Start::go() {
  const bool taking_over = takeover.has_value();
  PGV_TRY_VOID(process->start(std::exchange(takeover, std::nullopt)));
  if (taking_over) PGV_TRY_VOID(pid_file->take_over());
  if (options.daemon) log.standard_error(false);
  background.up();
  // The manager's main process is this one from now on (sd_notify(3)).
  options.notify(taking_over ? fmt::format("MAINPID={}\nREADY=1", getpid()) : "READY=1");
  return {};
}

int fatal(PoolLog& log, const Error& error, bool quiet) {
  // Even with -q: a start that fails says why.
  if (quiet) log.standard_error(true);
  log.put(Level::Fatal, "{}", error.message());
  return 1;
}

}  // namespace

std::string pool_version_text(const std::string& own_version) {
  return fmt::format("PgBouncer 1.25.2\nlibevent none (pgvigil {})\nadns: c-ares {}\ntls: {}\nsystemd: yes\n",
                     own_version, ares_version(nullptr), OpenSSL_version(OPENSSL_VERSION));
}

int run_pool(const PoolOptions& options) {
  // The process ends by _exit(): what threads and loops still hold is not taken apart under them.
  auto* start = new Start{options};
  if (options.quiet) start->log.standard_error(false);
  if (const auto prepared = start->prepare(); !prepared) return fatal(start->log, prepared.error(), options.quiet);
  int status = 0;
  status = start->process->run([&] {
    if (const auto gone = start->go(); !gone) {
      fatal(start->log, gone.error(), options.quiet);
      start->process->fail_start();
    }
  });
  start->pid_file->remove();
  std::fflush(nullptr);
  _exit(status);
}

}  // namespace pgvigil::pool
