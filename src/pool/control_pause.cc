// Control: PAUSE, RESUME, SUSPEND, WAIT_CLOSE.
#include <algorithm>
#include <utility>

#include "pool/pool_control.h"
#include "pool/server.h"

namespace pgvigil::pool {
namespace {

// One worker's part of SUSPEND: nothing is read any more, and what was read leaves. Returns how much is not there yet.
int freeze(Worker& worker, bool by_force) {
  // Logins that run are waited for: they may need a server's answer.
  int busy = static_cast<int>(worker.logins.size());
  std::vector<Client*> late_clients;
  worker.clients.each([&](Client& client) {
    if (client.state() == Client::State::Closed || client.stream() == nullptr) return;
    client.stream()->pause();
    if (client.stream()->unsent() > 0) late_clients.push_back(&client);
  });
  if (by_force) worker.logins.each([&](Client& client) { late_clients.push_back(&client); });
  std::vector<Server*> unused;
  for (PoolShard* shard : worker.shards()) {
    shard->tested.each([&](Server& server) { unused.push_back(&server); });
    shard->used.each([&](Server& server) { unused.push_back(&server); });
    shard->active.each([&](Server& server) {
      if (server.stream() != nullptr && server.stream()->unsent() > 0) ++busy;
    });
  }
  for (Server* server : unused) {
    if (server->state() != ServerState::Closed) server->close("suspend");
  }
  if (!by_force) return busy + static_cast<int>(late_clients.size());
  for (Client* client : late_clients) {
    if (client->state() != Client::State::Closed) client->refuse("suspend_timeout");
  }
  return busy;
}

}  // namespace

int PoolControl::servers_of(const Database* database) const {
  int total = 0;
  for (const Pool* pool : wiring_.pooler.catalog.pools()) {
    if (database == nullptr || &pool->database == database) total += pool->servers.load();
  }
  return total;
}

void PoolControl::close_unlinked(Database* database) {
  pooler().on_workers([database](Worker& worker) {
    for (PoolShard* shard : worker.shards()) {
      if (database == nullptr || &shard->pool.database == database) shard->close_unlinked("pause mode");
    }
  });
}

void PoolControl::pump(Database* database) {
  pooler().on_workers([database](Worker& worker) {
    for (PoolShard* shard : worker.shards()) {
      if (database == nullptr || &shard->pool.database == database) shard->pump();
    }
  });
}

Result<void> PoolControl::pause(Database* database, std::function<void(Result<void>)> done) {
  if (database == nullptr) {
    if (pooler().paused || pooler().suspended) return fail(Errc::Refused, "already suspended/paused");
    pooler().paused = true;
  } else {
    database->paused = true;
  }
  pausing_.push_back({database, std::move(done)});
  close_unlinked(database);
  look_soon();
  return {};
}

Result<void> PoolControl::resume(Database* database) {
  if (pooler().shutdown != Shutdown::None) return fail(Errc::Refused, "pooler is shutting down");
  if (database != nullptr) {
    if (!database->paused.exchange(false)) {
      return fail(Errc::Refused, fmt::format("database {} is not paused", database->name()));
    }
  } else if (pooler().suspended) {
    thaw();
  } else if (!pooler().paused.exchange(false)) {
    return fail(Errc::Refused, "pooler is not paused/suspended");
  }
  undo_pauses(database);
  pump(database);
  return {};
}

void PoolControl::undo_pauses(Database* database) {
  std::vector<Pausing> undone;
  for (auto each = pausing_.begin(); each != pausing_.end();) {
    if (each->database == database) {
      undone.push_back(std::move(*each));
      each = pausing_.erase(each);
    } else {
      ++each;
    }
  }
  for (const auto& each : undone) each.done(fail(Errc::Cancelled, "the pause was undone by RESUME"));
}

Result<void> PoolControl::suspend(std::function<void(Result<void>)> done) {
  if (pooler().paused || pooler().suspended) return fail(Errc::Refused, "already suspended/paused");
  for (const Database* database : pooler().catalog.databases()) {
    if (database->paused) return fail(Errc::Refused, "cannot suspend with paused databases");
  }
  pooler().suspended = true;
  wiring_.listeners.stop();
  suspending_ = std::move(done);
  const auto limit = pooler().config()->settings().suspend_timeout;
  suspend_until_ = limit.count() > 0 ? loop().now() + limit : TimePoint::max();
  look_soon();
  return {};
}

void PoolControl::thaw() {
  pooler().suspended = false;
  pooler().on_workers([](Worker& worker) { worker.clients.each([](Client& client) { client.read_on(); }); });
  wiring_.listeners.start();
  if (auto done = std::exchange(suspending_, nullptr); done) {
    done(fail(Errc::Cancelled, "the suspend was undone by RESUME"));
  }
}

void PoolControl::wait_close(Database* database, std::function<void()> done) {
  closing_.push_back({database, std::move(done)});
  look_soon();
}

bool PoolControl::waiting() const {
  return !pausing_.empty() || !closing_.empty() || wiring_.pooler.suspended || draining_ ||
         wiring_.pooler.shutdown != Shutdown::None;
}

void PoolControl::look_soon() {
  if (timer_ || exiting_) return;
  timer_ = loop().call_at(loop().now() + kLook, [this] {
    timer_.reset();
    look();
    if (waiting()) look_soon();
  });
}

void PoolControl::look() {
  look_at_pauses();
  look_at_suspend();
  look_at_closing();
  look_at_shutdown();
}

void PoolControl::look_at_pauses() {
  std::vector<Pausing> complete;
  for (auto each = pausing_.begin(); each != pausing_.end();) {
    if (servers_of(each->database) == 0) {
      complete.push_back(std::move(*each));
      each = pausing_.erase(each);
    } else {
      ++each;
    }
  }
  for (const auto& each : complete) each.done({});
}

void PoolControl::look_at_suspend() {
  if (!pooler().suspended || asked_workers_) return;
  // Nobody is left who could say RESUME.
  if (console_ != nullptr && console_->count() == 0) {
    pooler().log.put(Level::Log, "the console that suspended the pooler has gone: resuming");
    (void)resume(nullptr);
    return;
  }
  if (!suspending_) return;
  asked_workers_ = true;
  auto busy = std::make_shared<std::atomic<int>>(0);
  const bool by_force = loop().now() >= suspend_until_;
  const auto ask = [busy, by_force](Worker& worker) { *busy += freeze(worker, by_force); };
  pooler().gather(ask, [this, busy] {
    asked_workers_ = false;
    if (*busy > 0 || !pooler().suspended) return;
    if (auto done = std::exchange(suspending_, nullptr); done) done({});
  });
}

void PoolControl::look_at_closing() {
  if (closing_.empty() || asked_workers_) return;
  asked_workers_ = true;
  struct Left {
    std::mutex mutex;
    std::vector<const Database*> databases;  // with a connection that has to go
  };
  auto left = std::make_shared<Left>();
  const auto ask = [left](Worker& worker) {
    for (PoolShard* shard : worker.shards()) {
      bool any = false;
      for (List<Server>* list :
           {&shard->login, &shard->idle, &shard->active, &shard->used, &shard->tested, &shard->being_canceled}) {
        list->each([&](Server& server) { any = any || server.close_needed(); });
      }
      if (!any) continue;
      const std::lock_guard lock(left->mutex);
      left->databases.push_back(&shard->pool.database);
    }
  };
  // Requests that came while the workers were looking are answered at the next look.
  const std::size_t asked = closing_.size();
  pooler().gather(ask, [this, left, asked] {
    asked_workers_ = false;
    std::vector<Closing> complete, kept;
    for (std::size_t i = 0; i < closing_.size(); ++i) {
      const auto& databases = left->databases;
      const bool busy = closing_[i].database == nullptr
                            ? !databases.empty()
                            : std::find(databases.begin(), databases.end(), closing_[i].database) != databases.end();
      (i < asked && !busy ? complete : kept).push_back(std::move(closing_[i]));
    }
    closing_ = std::move(kept);
    for (const auto& each : complete) each.done();
  });
}

}  // namespace pgvigil::pool
