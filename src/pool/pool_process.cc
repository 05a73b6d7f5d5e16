#include "pool/pool_process.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "pool/server.h"
#include "pool/worker.h"

namespace pgvigil::pool {

PoolProcess::PoolProcess(const PoolOptions& options, RunningConfigPtr config, PoolLog& log,
                         std::unique_ptr<netio::Loop> loop, std::size_t workers, std::vector<ListenSocket> sockets,
                         std::unique_ptr<SignalSource> signals)
    : options_(options),
      log_(log),
      loop_(std::move(loop)),
      worker_count_(workers),
      pooler_(std::move(config), workers, log),
      listeners_(*loop_, pooler_, std::move(sockets)),
      statistics_(boottime_now()),
      control_({*loop_, pooler_, statistics_, listeners_, options.notify,
                [this](int status) {
                  status_ = status;
                  loop_->stop();
                },
                options.quiet || options.daemon}),
      cluster_(*loop_, pooler_),
      handover_(*loop_, log,
                {[this]() -> const std::vector<ListenSocket>& { return listeners_.sockets(); },
                 [this] { return pooler_.shutdown == Shutdown::None && !pooler_.suspended; },
                 [this] {
                   listeners_.give_up();
                   control_.drain();
                 }}),
      signals_(std::move(signals)) {}

PoolProcess::~PoolProcess() = default;

Result<void> PoolProcess::make_workers() {
  const poolcfg::Settings& settings = pooler_.config()->settings();
  const auto backend = settings.io_backend == "io_uring" ? netio::Backend::Uring
                       : settings.io_backend == "epoll"  ? netio::Backend::Epoll
                                                         : netio::Backend::Auto;
  for (std::size_t i = 0; i < worker_count_; ++i) {
    PGV_TRY(loop, netio::make_loop({backend}));
    pooler_.workers.push_back(std::make_unique<Worker>(pooler_, i, std::move(loop)));
  }
  return {};
}

Result<void> PoolProcess::start(std::optional<Takeover> takeover) {
  unconfirmed_ = takeover.has_value();
  const poolcfg::Settings& settings = pooler_.config()->settings();
  PGV_TRY(resolver, make_resolver(*loop_, {settings.dns_max_ttl, settings.dns_nxdomain_ttl,
                                           settings.dns_zone_check_period, settings.resolv_conf}));
  pooler_.resolver = std::move(resolver);
  pooler_.resolver->on_change(
      [this](const std::string& name, const std::vector<Address>& now) { resolver_changed(name, now); });
  pooler_.on_control = [this](std::function<void()> call) { loop_->post(std::move(call)); };
  pooler_.to_console = [this](const ConsoleStart& start) { loop_->post([this, start] { console_->start(start); }); };
  pooler_.cancel_console = [this](std::uint64_t key) { loop_->post([this, key] { console_->cancel(key); }); };
  pooler_.check_blocking = [this](Pooler::BlockingCheck check, netio::Loop& loop, std::function<void(bool)> done) {
    check_login(std::move(check), loop, std::move(done));
  };
  console_ = make_console(control_);
  control_.use_console(console_.get());
  if (!settings.metrics_listen.empty()) {
    PGV_TRY(metrics, make_metrics_server(control_, settings.metrics_listen));
    metrics_ = std::move(metrics);
  }
  PGV_TRY_VOID(make_workers());
  pooler_.catalog.on_automatic = [this](const std::string& name) {
    log_.put(Level::Log, "registered new auto-database: {}", name);
  };
  for (const auto& worker : pooler_.workers) worker->start();
  if (const auto& section = pooler_.config()->file.cluster) {
    PGV_TRY_VOID(cluster_.start(options_.start_follower, *section));
  }
  control_.begin_minimums();
  signals_->start(*loop_, [this](int number) { control_.on_signal(number); });
  for (const auto& socket : listeners_.sockets()) log_.put(Level::Log, "listening on {}", socket.text());
  listeners_.start();
  if (takeover) confirm(*takeover);
  serve_handover();
  plan_period();
  say_up();
  return {};
}

void PoolProcess::confirm(Takeover& takeover) {
  log_.put(Level::Log, "took the listening sockets over from process {}", takeover.pid);
  if (const auto confirmed = takeover.finish(); !confirmed) {
    log_.put(Level::Warning, "{}", confirmed.error().message());
  }
  unconfirmed_ = false;
  // What the settings do not name any more: nobody listens there now.
  for (const auto& file : takeover.files) {
    const auto& kept = listeners_.sockets();
    const bool used = std::any_of(kept.begin(), kept.end(), [&](const ListenSocket& s) { return s.file() == file; });
    if (!used) unlink(file.c_str());
  }
}

void PoolProcess::fail_start() {
  if (unconfirmed_) listeners_.give_up();  // with its files, which are the other process's
  status_ = 1;
  loop_->stop();
}

int PoolProcess::run(std::function<void()> begin) {
  // As the loop's first turn: its clock stands still before that.
  loop_->post(std::move(begin));
  loop_->run();
  cluster_.stop();
  handover_.close();
  listeners_.close_and_remove();
  return status_;
}

void PoolProcess::check_login(Pooler::BlockingCheck check, netio::Loop& loop, std::function<void(bool right)> done) {
  BlockingAuth::Request request;
  request.method = check.pam ? BlockingAuth::Request::Method::Pam : BlockingAuth::Request::Method::Ldap;
  request.user = std::move(check.user);
  request.password = Secret(std::move(check.password));
  request.remote = std::move(check.remote);
  request.options = std::move(check.options);
  blocking_auth_.check(std::move(request), loop, [this, done = std::move(done)](const Result<void>& result) {
    if (!result) log_.put(Level::Warning, "{}", result.error().message());
    done(result.has_value());
  });
}

void PoolProcess::serve_handover() {
  const std::string path = handover_path(pooler_.config()->settings());
  if (path.empty()) return;
  // The pooler works without it: only -R of the next process will not.
  if (const auto done = handover_.listen(path); !done) log_.put(Level::Warning, "{}", done.error().message());
}

void PoolProcess::plan_period() {
  const int seconds = std::max(pooler_.config()->settings().stats_period, 1);
  loop_->call_at(loop_->now() + std::chrono::seconds(seconds), [this] {
    const std::string line = statistics_.end_period(pooler_.catalog, loop_->now());
    if (pooler_.config()->settings().log_stats != 0) log_.put(Level::Log, "{}", line);
    options_.notify("STATUS=" + line);
    plan_period();
  });
}

void PoolProcess::say_up() {
  std::string text = pool_version_text(options_.version);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::string line;
  for (const char c : text) line += c == '\n' ? std::string(", ") : std::string(1, c);
  log_.put(Level::Log, "process up: {}", line);
  log_.put(Level::Log, "{} worker{}, {}", worker_count_, worker_count_ == 1 ? "" : "s",
           pooler_.workers.front()->loop().backend_text());
}

// Connections to addresses that a name no longer has are closed once nobody uses them.
void PoolProcess::resolver_changed(const std::string& name, const std::vector<Address>& now) {
  pooler_.on_workers([name, now](Worker& worker) {
    const auto vanished = [&](const Server& server) {
      const Address& at = server.address();
      return at.host == name &&
             std::none_of(now.begin(), now.end(), [&](const Address& a) { return a.ip() == at.ip(); });
    };
    for (PoolShard* shard : worker.shards()) {
      for (List<Server>* list :
           {&shard->login, &shard->idle, &shard->active, &shard->used, &shard->tested, &shard->being_canceled}) {
        list->each([&](Server& server) {
          if (vanished(server)) server.mark_close_needed();
        });
      }
    }
  });
}

}  // namespace pgvigil::pool
