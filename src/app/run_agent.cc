#include "app/run_agent.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <cstdio>
#include <filesystem>
#include <random>

#include "agent/agent.h"
#include "api/peer_client.h"
#include "api/server.h"
#include "app/before_start.h"
#include "app/config_node.h"
#include "app/etcd_options.h"
#include "app/idle_memory.h"
#include "app/service_notify.h"
#include "dcs/etcd/etcd_store.h"
#include "guard/unix_link.h"
#include "guard/watchdog.h"
#include "postgres/local_postgres.h"

namespace pgvigil::app {
namespace {

// What Patroni peers take this member's version for: dotted integers, at least 4.0.0, or they fall back to habits of
// old.
constexpr const char* kPatroniVersion = "4.1.0";
constexpr Duration kApiStopMax = std::chrono::seconds(2);
constexpr std::size_t kSocketPathMax = 90;

void print_lines(const char* label, const std::string& text) {
  std::fprintf(stderr, "pgvigil: %s%s\n", label, text.c_str());
}

// Where the guard's socket and the server's start log live: beside the data directory, private to its owner, the same
// for every agent of this directory.
Result<std::string> runtime_directory(const std::string& data_dir) {
  std::string path = data_dir;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  const std::string shortened = fmt::format("/tmp/pgvigil-{}-{:x}", getuid(), std::hash<std::string>()(path));
  path += ".pgvigil";
  if (path.size() > kSocketPathMax || (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)) {
    path = shortened;
    if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
      return fail(Errc::Failed, "cannot create the runtime directory", path, errno_text(errno));
    }
  }
  struct stat info {};
  if (lstat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != getuid() ||
      (info.st_mode & 077) != 0) {
    return fail(Errc::Refused, "the runtime directory is not ours alone", path, "owner or mode differ",
                "remove it, or chmod it to 0700");
  }
  return path;
}

std::string beside_this_program(const char* name) {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? std::string(name) : (self.parent_path() / name).string();
}

// The agent and everything that it stands on, in the order in which it has to be made.
class AgentProcess {
 public:
  AgentProcess(LogSink& sink, config::AgentConfig config, config::Environment environment, std::string runtime_dir,
               std::unique_ptr<Clock> clock, std::unique_ptr<dcs::KvStore> kv, asio::io_context& loop)
      : log_(sink, "app"),
        loop_(loop),
        clock_(std::move(clock)),
        kv_(std::move(kv)),
        notify_(environment.count("NOTIFY_SOCKET") > 0 ? environment.at("NOTIFY_SOCKET") : std::string()),
        node_(log_, std::move(config), std::move(environment), kPatroniVersion),
        store_(*clock_, *kv_, log_, store_options()),
        postgres_(*clock_, log_, {node_.name(), node_.scope(), node_.local().bootstrap, runtime_dir},
                  node_.effective()),
        guard_(
            {beside_this_program("pgvigil-guard"), runtime_dir + "/guard.sock", node_.local().postgresql.data_dir, 60}),
        peers_(*clock_, log_),
        watchdog_(log_, watchdog_settings()),
        agent_({*clock_, store_, postgres_, guard_, peers_, node_, log_}, agent_options()),
        api_(agent_, log_, {kPatroniVersion, PGVIGIL_VERSION}),
        signals_(loop, SIGTERM, SIGINT, SIGHUP) {}

  Result<void> start() {
    PGV_TRY_VOID(peers_.configure(node_.local().ctl, node_.local().restapi));
    PGV_TRY_VOID(api_.start(node_.local().restapi));
    node_.on_effective([this](const config::Effective& effective) { postgres_.configure(effective); });
    node_.on_local([this](const config::AgentConfig& local) { local_changed(local); });
    wait_for_signal();
    asio::co_spawn(loop_, run(), asio::detached);
    asio::co_spawn(loop_, keep_idle_memory_small(*clock_), asio::detached);
    return {};
  }
  [[nodiscard]] int exit_code() const { return exit_code_; }

 private:
  dcs::ClusterStoreOptions store_options() {
    dcs::ClusterStoreOptions options;
    options.name_space = node_.local().name_space;
    options.scope = node_.scope();
    options.self = node_.name();
    options.initial_settings = node_.cached_settings();
    options.parse_settings = [this](const std::string& json) { return node_.parse_settings(json); };
    options.seed = std::random_device()();
    return options;
  }
  agent::Options agent_options() {
    agent::Options options;
    const auto& watchdog = node_.local().watchdog;
    if (watchdog.mode == config::WatchdogConfig::Mode::Off) return options;
    options.watchdog_required = watchdog.mode == config::WatchdogConfig::Mode::Required;
    // Where there is no such device and none is required, there is nothing to talk about.
    if (!options.watchdog_required && access(watchdog.device.c_str(), F_OK) != 0) return options;
    options.watchdog_usable = [this] { return watchdog_.usable(); };
    options.feed_watchdog = [this](Duration ttl, Duration loop_wait) { return watchdog_.feed(ttl, loop_wait); };
    options.stop_watchdog = [this] { watchdog_.stop(); };
    return options;
  }
  [[nodiscard]] guard::WatchdogSettings watchdog_settings() const {
    const auto& watchdog = node_.local().watchdog;
    return {watchdog.mode == config::WatchdogConfig::Mode::Required, watchdog.device, watchdog.safety_margin,
            watchdog.driver == "testing"};
  }
  void local_changed(const config::AgentConfig& local) {
    if (const auto done = peers_.configure(local.ctl, local.restapi); !done) log_.error("{}", done.error().message());
    if (const auto done = api_.reload(local.restapi); !done) log_.error("{}", done.error().message());
  }
  void wait_for_signal() {
    signals_.async_wait([this](const boost::system::error_code& error, int number) {
      if (error) return;
      if (number == SIGHUP) {
        notify_.reloading();
        (void)agent_.reload();
        notify_.ready();
      } else {
        notify_.stopping();
        agent_.request_stop();
      }
      wait_for_signal();
    });
  }
  Task<void> run() {
    log_.info("pgvigil {} agent {} of cluster {}: REST API on port {}", PGVIGIL_VERSION, node_.name().text(),
              node_.scope(), api_.port());
    Identity self{dcs::cluster_prefix(node_.local().name_space, node_.scope()), node_.name(), node_.api_url()};
    const auto permitted = co_await before_start(*clock_, *kv_, peers_, std::move(self));
    if (permitted) {
      notify_.ready();
      exit_code_ = co_await agent_.run();
    } else {
      log_.error("{}", permitted.error().message());
    }
    notify_.stopping();
    const TimePoint deadline = clock_->now() + kApiStopMax;
    (void)co_await api_.stop(deadline);
    log_.info("stopped");
    loop_.stop();
  }

  Log log_;
  asio::io_context& loop_;
  std::unique_ptr<Clock> clock_;
  std::unique_ptr<dcs::KvStore> kv_;
  ServiceNotify notify_;
  ConfigNode node_;
  dcs::ClusterStore store_;
  postgres::LocalPostgres postgres_;
  guard::UnixGuardLink guard_;
  api::PeerClient peers_;
  guard::Watchdog watchdog_;
  agent::Agent agent_;
  api::ApiServer api_;
  asio::signal_set signals_;
  int exit_code_ = 1;
};

}  // namespace

int run_agent(const std::string& file_or_directory) {
  const auto environment = config::process_environment();
  auto loaded = config::load_agent_config(file_or_directory, environment);
  if (!loaded) {
    print_lines("", loaded.error().message());
    return 1;
  }
  if (getuid() == 0) {
    print_lines("",
                "the agent does not run as root, since PostgreSQL refuses to; start it as the owner of the data "
                "directory, for example: runuser -u postgres -- pgvigil agent FILE");
    return 1;
  }
  const auto sink = make_log_sink(loaded->config.log);
  const Log log(*sink, "app");
  for (const auto& warning : loaded->warnings) log.warning("{}", warning);
  auto runtime_dir = runtime_directory(loaded->config.postgresql.data_dir);
  auto etcd = etcd_options(loaded->config.etcd);
  if (!runtime_dir || !etcd) {
    log.error("{}", !runtime_dir ? runtime_dir.error().message() : etcd.error().message());
    return 1;
  }
  asio::io_context loop(1);
  auto clock = make_system_clock(loop.get_executor());
  auto kv = dcs::make_etcd_store(*clock, log, std::move(*etcd));
  if (!kv) {
    log.error("{}", kv.error().message());
    return 1;
  }
  AgentProcess process(*sink, std::move(loaded->config), environment, *runtime_dir, std::move(clock), std::move(*kv),
                       loop);
  if (const auto started = process.start(); !started) {
    log.error("{}", started.error().message());
    return 1;
  }
  loop.run();
  // Coroutines that still hold objects of `process` must not be resumed or destroyed after it: the process ends here.
  const int code = process.exit_code();
  std::fflush(nullptr);
  _exit(code);
}

}  // namespace pgvigil::app
