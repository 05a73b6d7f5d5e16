#include "pool/shard.h"

#include <algorithm>

#include "pool/server.h"
#include "pool/worker.h"

namespace pgvigil::pool {
namespace {

std::int64_t count_of(TimePoint t) { return t.since_boot().count(); }

}  // namespace

PoolShard::PoolShard(Pool& of, Worker& on) : pool(of), worker(on), rules{} { apply_rules(); }

PoolShard::~PoolShard() {
  for (auto* list : {&login, &idle, &active, &used, &tested, &being_canceled}) {
    while (Server* server = list->first()) {
      list->remove(*server);
      delete server;
    }
  }
}

void PoolShard::apply_rules() {
  const auto entry = pool.database.entry();
  rules = pool_rules(worker.config(), *entry, pool.user.name());
  route = !entry->role ? nullptr : &worker.route(pool.role.value_or(*entry->role));
}

bool PoolShard::blocked() const {
  return worker.pooler().paused.load(std::memory_order_relaxed) ||
         pool.database.paused.load(std::memory_order_relaxed) ||
         worker.pooler().suspended.load(std::memory_order_relaxed) || (route != nullptr && route->held);
}

// --- taking

Server* PoolShard::take_or_queue(Waiter& waiter, std::optional<Refusal>& refused) {
  Pooler& pooler = worker.pooler();
  if (pooler.shutdown.load(std::memory_order_relaxed) == Shutdown::WaitForServers) {
    refused = Refusal{"08P01", "server shutting down"};
    return nullptr;
  }
  if (waiting.empty() && !waiter.at_login && !blocked()) {
    if (Server* server = take_idle()) {
      waiter.wait_started = worker.now();
      serve(waiter, *server);
      return server;
    }
  }
  if (route != nullptr && route->refused) {
    refused = Refusal{"57P03", "no replica may serve reads now (replica_fallback=refuse)"};
    return nullptr;
  }
  // Who comes while no connection can be had is told so at once; who waits already goes on waiting. In a cluster
  // another leader may be there before the client's patience ends.
  if (!waiter.at_login && route == nullptr && pool.failing && pool.connected == 0 && cancels_sent == 0 && !blocked()) {
    refused = Refusal{"08P01", fmt::format("server login has been failing, cached error: {} (server_login_retry)",
                                           pool.history().reason)};
    open_one(true);
    return nullptr;
  }
  waiter.wait_started = worker.now();
  waiter.long_wait_told = false;
  waiting.push_back(waiter);
  publish_waiting();
  if (!blocked() || waiter.at_login) seek();
  return nullptr;
}

void PoolShard::withdraw(Waiter& waiter) {
  if (waiter.list() != &waiting) return;
  waiting.remove(waiter);
  publish_waiting();
}

Server* PoolShard::take_idle() {
  while (Server* server = spreads() ? first_idle() : idle.first()) {
    if (server->close_needed()) {
      server->close("database configuration changed");
      continue;
    }
    if (server->dirty()) {
      server->close("unexpected message while idle");
      continue;
    }
    return server;
  }
  const poolcfg::Settings& settings = worker.settings();
  if (Server* server = used.first()) {
    if (server->close_needed() || server->dirty()) {
      server->close("database configuration changed");
      return take_idle();
    }
    if (worker.now() - server->last_activity() <= settings.server_check_delay &&
        settings.server_check_delay.count() > 0) {
      return server;
    }
    server->set_state(ServerState::Tested);
    server->run_internal_query(settings.server_check_query == "<empty>" ? "" : settings.server_check_query);
  }
  return nullptr;
}

void PoolShard::serve(Waiter& waiter, Server& server) {
  statistics.assignments.add(1);
  const Duration waited = worker.now() - waiter.wait_started;
  if (waited.count() > 0) statistics.wait_time.add(micros(waited));
  server.link(waiter);
  publish_idle();
}

// --- giving back

void PoolShard::release(Server& server) {
  server.unlink();
  finish_release(server);
}

void PoolShard::finish_release(Server& server) {
  const poolcfg::Settings& settings = worker.settings();
  const bool once = rules.server_lifetime.count() == 0;
  if (once || worker.now() - server.connected_at() > rules.server_lifetime) {
    server.close("server lifetime over");
    return;
  }
  if (!server.quiet()) {
    server.close("client disconnected with query in progress");
    return;
  }
  if (server.close_needed() || server.replication()) {
    server.close("close_needed");
    return;
  }
  if (!server.cancels.empty()) {
    server.set_state(ServerState::BeingCanceled);
    return;
  }
  const bool reset = rules.mode == poolcfg::PoolMode::Session || settings.server_reset_query_always != 0;
  if (reset && !settings.server_reset_query.empty()) {
    server.set_state(ServerState::Tested);
    server.run_internal_query(settings.server_reset_query);
    return;
  }
  if (settings.server_check_delay.count() == 0 && !settings.server_check_query.empty()) {
    server.set_state(ServerState::Used);
    pump();
    return;
  }
  make_idle(server);
}

void PoolShard::cancels_ended(Server& server) {
  if (server.state() == ServerState::BeingCanceled) finish_release(server);
}

void PoolShard::make_idle(Server& server) {
  if (!blocked()) {
    if (pool.waiting_shards.load() > (published_waiting_ ? 1 : 0)) {
      if (PoolShard* other = longer_waiting_elsewhere()) {
        hand_over(server, *other);
        return;
      }
    }
    welcome_waiting();
    if (Waiter* first = waiting.first()) {
      waiting.remove(*first);
      publish_waiting();
      serve(*first, server);
      first->on_server(server);
      return;
    }
  }
  server.set_state(ServerState::Idle);
  publish_idle();
  if (blocked()) {
    server.close("pause mode");
    return;
  }
  // A client of another worker may have queued between the look above and the publication.
  if (pool.waiting_shards.load() > 0 && server.state() == ServerState::Idle) {
    if (PoolShard* other = longer_waiting_elsewhere()) hand_over(server, *other);
  }
}

// Pumping at once would change lists that callers up the stack are walking.
void PoolShard::server_closed() {
  publish_idle();
  if (waiting.empty() || pump_due_) return;
  pump_due_ = true;
  worker.loop().at_turn_end([this] {
    pump_due_ = false;
    pump();
  });
}

// --- the queue

void PoolShard::publish_waiting() {
  Waiter* first = waiting.first();
  if (pool.workers() == 1) return;
  oldest_wait.store(first == nullptr ? kNobodyWaits : count_of(first->wait_started), std::memory_order_release);
  const bool any = first != nullptr;
  if (any == published_waiting_) return;
  published_waiting_ = any;
  pool.waiting_shards.fetch_add(any ? 1 : -1);
}

void PoolShard::publish_idle() {
  if (pool.workers() > 1) idle_count.store(idle.size());
  oldest_idle.store(idle.last() == nullptr ? kNobodyWaits : count_of(idle.last()->last_activity()),
                    std::memory_order_relaxed);
}

PoolShard* PoolShard::longer_waiting_elsewhere() const {
  PoolShard* longest = nullptr;
  const Waiter* own = waiting.first();
  std::int64_t since = own == nullptr ? kNobodyWaits : count_of(own->wait_started - kFairness);
  for (std::size_t i = 0; i < pool.workers(); ++i) {
    PoolShard* other = pool.shard(i);
    if (other == nullptr || other == this) continue;
    const std::int64_t theirs = other->oldest_wait.load(std::memory_order_acquire);
    if (theirs < since) {
      since = theirs;
      longest = other;
    }
  }
  return longest;
}

void PoolShard::welcome_waiting() {
  if (!pool.has_welcome || waiting.empty()) return;
  // on_welcome() may send the client away and thereby change the queue: look from the start each time.
  for (bool again = true; again;) {
    again = false;
    for (Waiter* waiter = waiting.first(); waiter != nullptr; waiter = waiting.after(*waiter)) {
      if (!waiter->at_login) continue;
      withdraw(*waiter);
      waiter->on_welcome();
      again = true;
      break;
    }
  }
}

void PoolShard::pump() {
  welcome_waiting();
  while (!waiting.empty() && !blocked()) {
    Server* server = take_idle();
    if (server == nullptr) break;
    Waiter* first = waiting.first();
    if (first == nullptr) break;
    waiting.remove(*first);
    publish_waiting();
    serve(*first, *server);
    first->on_server(*server);
  }
  if (!waiting.empty()) seek();
}

// What waits and has nothing coming: another worker's idle connection, or a new one.
void PoolShard::seek() {
  const std::size_t coming = donations_expected_ + login.size() + tested.size();
  if (waiting.size() <= coming) return;
  std::size_t wanted = waiting.size() - coming;
  if (pool.workers() > 1) wanted -= std::min(wanted, ask_other_workers(wanted));
  while (wanted > 0 && open_one(true)) --wanted;
  if (wanted > 0 && route != nullptr && pool.failing) retry_soon();
}

std::size_t PoolShard::ask_other_workers(std::size_t wanted) {
  std::size_t asked = 0;
  for (std::size_t i = 0; i < pool.workers() && asked < wanted; ++i) {
    PoolShard* other = pool.shard(i);
    if (other == nullptr || other == this) continue;
    const std::size_t there = other->idle_count.load();
    for (std::size_t n = 0; n < there && asked < wanted; ++n) {
      ++asked;
      ++donations_expected_;
      other->worker.post([other, this] { other->donate(*this); });
    }
  }
  return asked;
}

void PoolShard::donate(PoolShard& target) {
  Server* server = waiting.empty() && !blocked() ? idle.last() : nullptr;
  if (server != nullptr && (server->close_needed() || server->dirty())) {
    server->close("database configuration changed");
    server = nullptr;
  }
  if (server == nullptr) {
    target.worker.post([&target] { target.arrive(nullptr, true); });
    return;
  }
  idle.remove(*server);
  publish_idle();
  moved.add(1);
  server->leave([server, &target] { target.worker.post([server, &target] { target.arrive(server, true); }); });
}

void PoolShard::hand_over(Server& server, PoolShard& to) {
  if (server.list() != nullptr) server.list()->remove(server);
  publish_idle();
  moved.add(1);
  PoolShard* target = &to;
  Server* moving = &server;
  server.leave([moving, target] { target->worker.post([moving, target] { target->arrive(moving, false); }); });
}

void PoolShard::arrive(Server* server, bool was_asked_for) {
  if (was_asked_for && donations_expected_ > 0) --donations_expected_;
  if (server == nullptr) {
    pump();
    return;
  }
  server->enter(*this);
  if (server->state() == ServerState::Closed) return;
  if (server->close_needed() || (route != nullptr && !fits_route(*server))) {
    server->close("database configuration changed");
    return;
  }
  make_idle(*server);
}

void PoolShard::refuse_waiting(const Refusal& refusal) {
  while (Waiter* first = waiting.first()) {
    withdraw(*first);
    first->on_refused(refusal);
  }
}

// --- opening

bool PoolShard::open_one(bool for_waiting) {
  const int size = rules.pool_size;
  const bool known = pool.has_welcome;
  const poolcfg::Settings& settings = worker.settings();
  const bool full = known && size > 0 && pool.servers.load(std::memory_order_relaxed) >= size;
  const bool reserve = rules.reserve_pool_size > 0 && settings.reserve_pool_timeout.count() > 0;
  if (full && !reserve) return false;
  if (worker.pooler().shutdown.load(std::memory_order_relaxed) == Shutdown::WaitForServers || blocked()) return false;
  const ConnectHistory history = pool.history();
  if (history.last_failed && worker.now() - history.last_started < retry_delay(history)) return false;
  // Its workers have not heard of the new reign yet; they will, and look again.
  if (route != nullptr && route->reign != worker.pooler().reign.load()) return false;
  auto attempt = LimitSlot::try_take(pool.connecting, history.last_failed || !known ? 1 : kParallelConnects);
  if (!attempt) return false;

  auto slots = take_slots(for_waiting, known);
  if (!slots) return false;
  slots->attempt = std::move(*attempt);
  auto* server = new Server(*this, worker.pooler().next_id.fetch_add(1), std::move(*slots));
  login.push_back(*server);
  server->connect();
  return true;
}

std::optional<ServerSlots> PoolShard::take_slots(bool for_waiting, bool known) {
  const int size = rules.pool_size;
  ServerSlots slots;
  auto in_pool = LimitSlot::try_take(pool.servers, known ? size : 0);
  if (!in_pool) {
    if (!for_waiting || waiting.empty() || rules.reserve_pool_size <= 0) return std::nullopt;
    const Duration patience = worker.settings().reserve_pool_timeout;
    if (patience.count() == 0 || worker.now() - waiting.first()->wait_started < patience) return std::nullopt;
    in_pool = LimitSlot::try_take(pool.servers, size + rules.reserve_pool_size);
    if (!in_pool) return std::nullopt;
    worker.pooler().log.put(Level::Warning, "{}/{}: taking connection from reserve_pool", pool.database.name(),
                            pool.user.name());
  }
  auto in_database = LimitSlot::try_take(pool.database.servers, rules.max_db_connections);
  if (!in_database && for_waiting && make_room(false)) {
    in_database = LimitSlot::try_take(pool.database.servers, rules.max_db_connections);
  }
  if (!in_database) return std::nullopt;
  auto of_user = LimitSlot::try_take(pool.user.servers, rules.max_user_connections);
  if (!of_user && for_waiting && make_room(true)) {
    of_user = LimitSlot::try_take(pool.user.servers, rules.max_user_connections);
  }
  if (!of_user) return std::nullopt;
  slots.pool = std::move(*in_pool);
  slots.database = std::move(*in_database);
  slots.user = std::move(*of_user);
  return slots;
}

Server* PoolShard::open_for_replication() {
  auto slots = take_slots(true, true);
  while (!slots && evict_one()) slots = take_slots(true, true);
  if (!slots) return nullptr;
  auto* server = new Server(*this, worker.pooler().next_id.fetch_add(1), std::move(*slots));
  login.push_back(*server);
  return server;
}

// Closes the longest-inactive connection of the same database (or user) that nobody uses. One of another worker is
// closed there, and this shard looks again when that has happened. True: there is room now.
bool PoolShard::make_room(bool for_user) {
  Catalog& catalog = worker.pooler().catalog;
  PoolShard* oldest = nullptr;
  std::int64_t since = kNobodyWaits;
  for (Pool* candidate : for_user ? catalog.pools_of(pool.user) : catalog.pools_of(pool.database)) {
    if (candidate == &pool) continue;
    for (std::size_t i = 0; i < candidate->workers(); ++i) {
      PoolShard* shard = candidate->shard(i);
      if (shard == nullptr) continue;
      const std::int64_t theirs = shard->oldest_idle.load(std::memory_order_relaxed);
      if (theirs < since) {
        since = theirs;
        oldest = shard;
      }
    }
  }
  if (oldest == nullptr) return false;
  if (&oldest->worker == &worker) return oldest->evict_one();
  oldest->worker.post([oldest, this] {
    oldest->evict_one();
    worker.post([this] { pump(); });
  });
  return false;
}

bool PoolShard::evict_one() {
  Server* victim = idle.last();
  if (victim == nullptr && waiting.empty()) victim = used.first();
  if (victim == nullptr) return false;
  victim->close("evicted");
  return true;
}

// --- time

void PoolShard::maintain(TimePoint now) {
  check_waiting(now);
  check_active(now);
  check_unlinked(now);
  keep_minimum();
  if (!waiting.empty()) pump();
}

void PoolShard::check_waiting(TimePoint now) {
  const poolcfg::Settings& settings = worker.settings();
  const Duration wait_limit = rules.query_wait_timeout;
  const Duration query_limit = settings.query_timeout;
  const Duration notify = std::chrono::seconds(settings.query_wait_notify);
  Waiter* next = nullptr;
  for (Waiter* waiter = waiting.first(); waiter != nullptr; waiter = next) {
    next = waiting.after(*waiter);
    const Duration age = now - (waiter->at_login ? waiter->wait_started : waiter->request_started);
    const char* text = nullptr;
    if (wait_limit.count() > 0 && age > wait_limit) {
      text = "query_wait_timeout";
    } else if (query_limit.count() > 0 && age > query_limit) {
      text = "query_timeout";
    }
    if (text != nullptr) {
      withdraw(*waiter);
      waiter->on_refused({"08P01", text});
    } else if (notify.count() > 0 && !waiter->long_wait_told && !waiter->at_login &&
               now - waiter->wait_started > notify) {
      waiter->long_wait_told = true;
      waiter->on_long_wait();
    }
  }
}

void PoolShard::check_active(TimePoint now) {
  const bool any_limit = rules.query_timeout.count() > 0 || rules.idle_transaction_timeout.count() > 0 ||
                         rules.transaction_timeout.count() > 0;
  if (!any_limit) return;
  active.each([&](Server& server) {
    Client* client = server.client();
    if (client == nullptr) return;
    const TimePoint none;
    const char* text = nullptr;
    if (rules.query_timeout.count() > 0 && client->query_started() != none &&
        now - client->query_started() > rules.query_timeout) {
      text = "query timeout";
    } else if (rules.idle_transaction_timeout.count() > 0 && server.quiet() && server.transaction_status() != 'I' &&
               now - server.last_activity() > rules.idle_transaction_timeout) {
      text = "idle transaction timeout";
    } else if (rules.transaction_timeout.count() > 0 && client->transaction_started() != none &&
               now - client->transaction_started() > rules.transaction_timeout) {
      text = "transaction timeout";
    }
    if (text != nullptr) server.close_with_client(text, {"08P01", text});
  });
}

void PoolShard::check_unlinked(TimePoint now) {
  const poolcfg::Settings& settings = worker.settings();
  const auto over = [&](Server& server) {
    if (server.close_needed() || server.dirty()) {
      server.close("database configuration changed");
      return true;
    }
    if (rules.server_lifetime.count() > 0 && now - server.connected_at() > rules.server_lifetime) {
      const Duration apart = rules.pool_size > 0 ? rules.server_lifetime / rules.pool_size : Duration(0);
      if (now - last_lifetime_close_ >= apart) {
        last_lifetime_close_ = now;
        server.close("server lifetime over");
        return true;
      }
    }
    if (settings.server_idle_timeout.count() > 0 && now - server.last_activity() > settings.server_idle_timeout &&
        server.give_up_place_above(rules.min_pool_size)) {
      server.close("server idle timeout");
      return true;
    }
    return false;
  };
  const int most = rules.pool_size + rules.reserve_pool_size;
  used.each([&](Server& server) {
    if (over(server)) return;
    if (rules.pool_size > 0 && server.give_up_place_above(most)) server.close("too many servers in the pool");
  });
  idle.each([&](Server& server) {
    if (over(server)) return;
    if (rules.pool_size > 0 && server.give_up_place_above(most)) {
      server.close("too many servers in the pool");
    } else if (!settings.server_check_query.empty() && now - server.last_activity() > settings.server_check_delay) {
      server.set_state(ServerState::Used);
    }
  });
  tested.each([&](Server& server) {
    if (settings.server_idle_timeout.count() > 0 && now - server.last_activity() > settings.server_idle_timeout) {
      server.close("server idle timeout");
    }
  });
  login.each([&](Server& server) {
    if (server.close_needed()) {
      server.close("connect string changed");
    } else if (settings.server_connect_timeout.count() > 0 &&
               now - server.connected_at() > settings.server_connect_timeout) {
      server.close("connect timeout");
    }
  });
  publish_idle();
}

void PoolShard::keep_minimum() {
  if (rules.min_pool_size <= 0 || pool.database.removed || pool.database.disabled) return;
  if (clients == 0 && !pool.forced_user) return;
  if (pool.servers < std::min(rules.min_pool_size, rules.pool_size)) open_one(false);
}

void PoolShard::close_unlinked(const char* why) {
  for (auto* list : {&idle, &used, &login}) list->each([why](Server& server) { server.close(why); });
}

}  // namespace pgvigil::pool
