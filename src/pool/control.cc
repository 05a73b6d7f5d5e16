// Control: configuration, and what takes effect at once.
#include "pool/control.h"

#include <csignal>
#include <ctime>
#include <utility>

#include "pool/load_running_config.h"
#include "pool/pool_control.h"
#include "pool/server.h"

namespace pgvigil::pool {
namespace {

std::string reloading_text() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return fmt::format("RELOADING=1\nMONOTONIC_USEC={}",
                     static_cast<long long>(now.tv_sec) * 1000000 + now.tv_nsec / 1000);
}

bool same_tls(const poolcfg::Settings& a, const poolcfg::Settings& b) {
  return a.client_tls == b.client_tls && a.server_tls == b.server_tls;
}

}  // namespace

PoolControl::PoolControl(Wiring wiring) : wiring_(std::move(wiring)) {}

PoolControl::~PoolControl() {
  if (timer_) loop().cancel(*timer_);
}

Result<void> PoolControl::reload() {
  const RunningConfigPtr running = pooler().config();
  wiring_.notify(reloading_text());
  auto fresh = load_running_config(running->settings().conffile, running.get());
  Result<void> result;
  if (!fresh) {
    result = tl::make_unexpected(std::move(fresh.error()));
  } else {
    // Opening the log anew is part of it: nothing else has changed when that fails.
    result = pooler().log.configure(log_target((*fresh)->settings(), wiring_.quiet));
  }
  if (result) {
    log_warnings(**fresh, pooler().log);
    adopt(std::move(*fresh));
  } else {
    pooler().log.put(Level::Error, "{}; the old configuration stays in force", result.error().message());
  }
  wiring_.notify("READY=1");
  if (!result) return fail(Errc::InvalidConfig, "RELOAD failed, see logs for additional details");
  return {};
}

Result<void> PoolControl::set(const std::string& key, const std::string& value) {
  const RunningConfigPtr running = pooler().config();
  auto changed = std::make_shared<RunningConfig>(*running);
  if (auto set = poolcfg::set_setting(changed->file.settings, key, value); !set) {
    pooler().log.put(Level::Warning, "{}", set.error().message());
    return fail(Errc::InvalidConfig, "SET failed");
  }
  if (!same_tls(running->settings(), changed->settings())) {
    if (auto renewed = renew_tls(*changed); !renewed) {
      pooler().log.put(Level::Error, "{}", renewed.error().message());
      return fail(Errc::InvalidConfig, "SET failed");
    }
  }
  const auto target = log_target(changed->settings(), wiring_.quiet);
  if (auto opened = pooler().log.configure(target); !opened) {
    pooler().log.put(Level::Error, "{}", opened.error().message());
    return fail(Errc::InvalidConfig, "SET failed");
  }
  adopt(changed);
  return {};
}

void PoolControl::adopt(const std::shared_ptr<const RunningConfig>& config) {
  const RunningConfigPtr before = pooler().config();
  pooler().set_config(config);
  pooler().catalog.adopt(config);
  pooler().on_workers([config](Worker& worker) { worker.adopt(config); });
  const poolcfg::Settings& settings = config->settings();
  if (pooler().resolver) {
    pooler().resolver->configure(
        {settings.dns_max_ttl, settings.dns_nxdomain_ttl, settings.dns_zone_check_period, settings.resolv_conf});
  }
  wiring_.listeners.adopt(settings);
  end_sessions([](const Database& of) { return of.removed.load(); });
  begin_minimums();
  // Changed contents of the same files do not reconnect anything: RECONNECT is for that.
  if (before->settings().server_tls != settings.server_tls) reconnect(nullptr);
}

// A pool of a forced user is kept at its min_pool_size also before its first client: it has to exist for that.
void PoolControl::begin_minimums() {
  const RunningConfigPtr config = pooler().config();
  std::size_t turn = 0;
  for (Database* database : pooler().catalog.databases()) {
    const auto entry = database->entry();
    if (entry->user.empty() || pool_rules(*config, *entry, entry->user).min_pool_size <= 0) continue;
    Pool& pool = pooler().catalog.pool(*database, pooler().catalog.user(entry->user), true);
    Worker& worker = *pooler().workers[turn++ % pooler().workers.size()];
    worker.post([&worker, &pool] { worker.shard(pool); });
  }
}

void PoolControl::reconnect(Database* database) {
  for (Pool* pool : pooler().catalog.pools()) {
    if (database != nullptr && &pool->database != database) continue;
    ++pool->generation;
    pool->forget_welcome();
  }
  pooler().on_workers([database](Worker& worker) {
    std::vector<Server*> logging_in;
    for (PoolShard* shard : worker.shards()) {
      if (database != nullptr && &shard->pool.database != database) continue;
      shard->login.each([&](Server& server) { logging_in.push_back(&server); });
    }
    for (Server* server : logging_in) {
      if (server->state() == ServerState::Login) server->close("connect string changed");
    }
  });
}

void PoolControl::disable(Database& database, bool disabled) { database.disabled = disabled; }

void PoolControl::kill(Database* database) {
  if (database != nullptr) {
    database->paused = true;
  } else {
    for (Database* each : pooler().catalog.databases()) each->paused = true;
  }
  end_sessions([database](const Database& of) { return database == nullptr || &of == database; });
}

void PoolControl::end_sessions(std::function<bool(const Database&)> chosen) {
  pooler().on_workers([chosen = std::move(chosen)](Worker& worker) {
    // Closing one may change the lists that others are on: what is closed is chosen first. Memory outlives the turn.
    std::vector<Client*> clients;
    worker.clients.each([&](Client& client) {
      if (client.database() != nullptr && chosen(*client.database())) clients.push_back(&client);
    });
    std::vector<Server*> servers;
    for (PoolShard* shard : worker.shards()) {
      if (!chosen(shard->pool.database)) continue;
      for (List<Server>* list :
           {&shard->login, &shard->idle, &shard->active, &shard->used, &shard->tested, &shard->being_canceled}) {
        list->each([&](Server& server) { servers.push_back(&server); });
      }
    }
    for (Client* client : clients) client->refuse("database removed");
    for (Server* server : servers) {
      if (server->state() != ServerState::Closed) server->close("database removed");
    }
  });
}

void PoolControl::kill_client(std::uint64_t id, std::function<void(bool found)> done) {
  auto found = std::make_shared<std::atomic<bool>>(false);
  const auto look = [id, found](Worker& worker) {
    Client* target = nullptr;
    worker.clients.each([&](Client& client) {
      if (client.id() == id) target = &client;
    });
    if (target == nullptr) target = worker.login_by_id(id);
    if (target == nullptr || target->state() == Client::State::Closed) return;
    *found = true;
    target->refuse("admin forced disconnect");
  };
  pooler().gather(look, [found, done = std::move(done)] { done(*found); });
}

void PoolControl::on_signal(int number) {
  PoolLog& log = pooler().log;
  switch (number) {
    case SIGHUP:
      log.put(Level::Log, "got SIGHUP, re-reading config");
      (void)reload();
      break;
    case SIGTERM:
      log.put(Level::Log, "got SIGTERM, shutting down, waiting for all clients disconnect");
      stop_with_signal(Shutdown::WaitForClients);
      break;
    case SIGINT:
      log.put(Level::Log, "got SIGINT, shutting down, waiting for all servers connections to be released");
      stop_with_signal(Shutdown::WaitForServers);
      break;
    case SIGQUIT:
      log.put(Level::Log, "got SIGQUIT, fast exit");
      shutdown_now();
      break;
    case SIGUSR1: {
      log.put(Level::Log, "got SIGUSR1, pausing all activity");
      if (auto paused = pause(nullptr, [](const Result<void>&) {}); !paused) {
        log.put(Level::Warning, "{}", paused.error().message());
      }
      break;
    }
    case SIGUSR2: {
      log.put(Level::Log, "got SIGUSR2, continuing from PAUSE");
      if (auto resumed = resume(nullptr); !resumed) log.put(Level::Warning, "{}", resumed.error().message());
      break;
    }
    default: break;
  }
}

}  // namespace pgvigil::pool
