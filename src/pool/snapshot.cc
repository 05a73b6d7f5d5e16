#include "pool/snapshot.h"

#include <algorithm>
#include <map>

#include "pgwire/frame.h"
#include "pool/catalog.h"
#include "pool/pooler.h"
#include "pool/shard.h"
#include "pool/worker.h"

namespace pgvigil::pool {
namespace {

// Local addresses are looked up while this many connections of a worker at most need it: below half a millisecond.
constexpr std::size_t kLocalAddressesMax = 1000;

struct WorkerPart {
  std::vector<std::pair<const Pool*, PoolFact>> pools;
  std::vector<ClientFact> clients;
  std::vector<ServerFact> servers;
  WorkerFact worker;
};

std::string tls_text(const netio::Stream* stream) {
  const netio::TlsInfo* tls = stream == nullptr ? nullptr : stream->tls();
  return tls == nullptr ? std::string() : tls->text;
}

std::string application_name(const ParameterSetPtr& parameters, std::optional<std::size_t> index) {
  if (!parameters || !index) return {};
  return parameters->at(*index).value_or(std::string());
}

ReplicationKind replication_kind(const Client* client) {
  if (client == nullptr || client->replication() == nullptr) return ReplicationKind::None;
  return client->replication()->logical ? ReplicationKind::Logical : ReplicationKind::Physical;
}

ClientFact client_fact(const Client& client, std::optional<std::size_t> name_index, bool with_local) {
  ClientFact fact;
  switch (client.state()) {
    case Client::State::Login:
    case Client::State::Closed: fact.state = ClientFact::State::Login; break;
    case Client::State::Waiting: fact.state = ClientFact::State::Waiting; break;
    case Client::State::Ready:
    case Client::State::Restoring:
      fact.state = client.server() != nullptr ? ClientFact::State::Active : ClientFact::State::Idle;
      break;
  }
  if (client.database() != nullptr) fact.database = client.database()->name();
  if (client.user() != nullptr) fact.user = client.user()->name();
  fact.replication = replication_kind(&client);
  fact.address = client.address();
  const netio::Stream* stream = client.stream();
  if (with_local && stream != nullptr && fact.address.address.kind != poolcfg::PeerAddress::Kind::Unix) {
    fact.local = local_of(stream->fd());
  }
  fact.listen_port = client.listen_port();
  fact.connected_at = client.connected_at();
  fact.last_activity = client.last_activity();
  fact.query_started = client.query_started();
  if (client.server() != nullptr) fact.link = client.server()->id();
  fact.unsent = stream == nullptr ? 0 : stream->unsent();
  fact.statements = client.statement_count();
  fact.id = client.id();
  fact.tls = tls_text(stream);
  fact.application_name = application_name(client.parameters(), name_index);
  return fact;
}

ServerFact server_fact(Server& server, std::optional<std::size_t> name_index, bool with_local) {
  ServerFact fact;
  const Pool& pool = server.shard().pool;
  const Client* client = server.client();
  const netio::Stream* stream = server.stream();
  fact.state = server.state();
  fact.database = pool.database.name();
  fact.user = pool.user.name();
  if (server.replication()) fact.replication = replication_kind(client);
  fact.address = server.address();
  if (with_local && stream != nullptr && !fact.address.unix_socket()) fact.local = local_of(stream->fd());
  fact.connected_at = server.connected_at();
  fact.last_activity = server.last_activity();
  if (client != nullptr) {
    fact.query_started = client->query_started();
    fact.link = client->id();
  }
  fact.close_needed = server.close_needed();
  if (server.cancel_key().size() >= 4) fact.remote_pid = pgwire::load32(server.cancel_key().data());
  fact.unsent = stream == nullptr ? 0 : stream->unsent();
  fact.statements = server.statement_count();
  fact.requests = server.requests().size();
  fact.id = server.id();
  fact.tls = tls_text(stream);
  fact.application_name = application_name(server.parameters(), name_index);
  return fact;
}

PoolFact pool_fact(PoolShard& shard, TimePoint now) {
  PoolFact fact;
  std::size_t at_login = 0;
  shard.waiting.each([&](Waiter& waiter) { at_login += waiter.at_login ? 1 : 0; });
  fact.waiting = shard.waiting.size();
  fact.clients = shard.clients + at_login;
  if (const Waiter* first = shard.waiting.first(); first != nullptr && !first->at_login) {
    const TimePoint since = first->request_started == TimePoint() ? first->wait_started : first->request_started;
    fact.longest_wait = std::max(Duration::zero(), now - since);
  }
  fact.cancels_active = shard.cancels_sent;
  fact.active = shard.active.size();
  fact.being_canceled = shard.being_canceled.size();
  fact.idle = shard.idle.size();
  fact.used = shard.used.size();
  fact.tested = shard.tested.size();
  fact.login = shard.login.size();
  return fact;
}

void add(PoolFact& sum, const PoolFact& part) {
  sum.clients += part.clients;
  sum.waiting += part.waiting;
  sum.cancels_active += part.cancels_active;
  sum.cancels_waiting += part.cancels_waiting;
  sum.active += part.active;
  sum.being_canceled += part.being_canceled;
  sum.idle += part.idle;
  sum.used += part.used;
  sum.tested += part.tested;
  sum.login += part.login;
  sum.longest_wait = std::max(sum.longest_wait, part.longest_wait);
}

void collect(Worker& worker, unsigned facts, WorkerPart& part) {
  const auto name_index = worker.pooler().tracked.find("application_name");
  if ((facts & kPoolFacts) != 0) {
    part.pools.reserve(worker.shards().size());
    for (PoolShard* shard : worker.shards()) part.pools.emplace_back(&shard->pool, pool_fact(*shard, worker.now()));
  }
  if ((facts & kClientFacts) != 0) {
    part.clients.reserve(worker.clients.size() + worker.logins.size());
    const bool local = worker.clients.size() + worker.logins.size() <= kLocalAddressesMax;
    for (List<Client>* list : {&worker.clients, &worker.logins}) {
      list->each([&](Client& client) {
        if (client.state() == Client::State::Closed) return;
        part.clients.push_back(client_fact(client, name_index, local));
      });
    }
  }
  if ((facts & kServerFacts) != 0) {
    std::size_t count = 0;
    for (PoolShard* shard : worker.shards()) {
      for (auto* list :
           {&shard->active, &shard->idle, &shard->used, &shard->tested, &shard->being_canceled, &shard->login}) {
        list->each([&](Server& server) {
          part.servers.push_back(server_fact(server, name_index, ++count <= kLocalAddressesMax));
        });
      }
    }
  }
  if ((facts & kWorkerFacts) != 0) {
    part.worker.backend = worker.loop().backend_text();
    part.worker.clients = worker.client_count;
  }
}

void shared_facts(Pooler& pooler, const Statistics& statistics, Snapshot& snapshot) {
  const Catalog& catalog = pooler.catalog;
  snapshot.config = pooler.config();
  snapshot.paused = pooler.paused;
  snapshot.suspended = pooler.suspended;
  snapshot.shutting_down = pooler.shutdown.load() != Shutdown::None;
  snapshot.client_sockets = pooler.client_count;
  snapshot.statements = pooler.statements.size();
  snapshot.console_sessions = statistics.console_sessions;
  snapshot.statistics = statistics.rows(statistics.sums(catalog), snapshot.now);
  for (const Database* database : catalog.databases()) {
    snapshot.databases.push_back({database->name(), database->entry(), database->automatic(), database->paused,
                                  database->disabled, database->clients, database->servers});
  }
  for (const User* user : catalog.users()) snapshot.users.push_back({user->name(), user->clients, user->servers});
  snapshot.cluster = pooler.cluster();
  if (snapshot.cluster) {
    for (const ClusterMember& member : snapshot.cluster->members) {
      snapshot.members.push_back({member.name.text(), pooler.loads.connections(member.name.text())});
    }
  }
  if (pooler.resolver) {
    snapshot.hosts = pooler.resolver->hosts();
    snapshot.zones = pooler.resolver->zones();
    snapshot.resolver_queries = pooler.resolver->queries();
  }
}

// Pools appear from the moment they are known, whether a worker has used them or not.
void sum_pools(Pooler& pooler, std::vector<WorkerPart>& parts, Snapshot& snapshot) {
  std::map<const Pool*, PoolFact> sums;
  for (const WorkerPart& part : parts) {
    for (const auto& [pool, fact] : part.pools) add(sums[pool], fact);
  }
  for (const Pool* pool : pooler.catalog.pools()) {
    for (std::size_t i = 0; i < pool->workers(); ++i) {
      if (const PoolShard* shard = pool->shard(i)) snapshot.moved_connections += shard->moved.get();
    }
    PoolFact fact = sums[pool];
    const auto entry = pool->database.entry();
    fact.database = pool->label;
    fact.user = pool->user.name();
    fact.mode = pool_rules(*snapshot.config, *entry, pool->user.name()).mode;
    if (entry->hosts.size() > 1) fact.load_balance = entry->load_balance_hosts;
    snapshot.pools.push_back(fact);
  }
}

template <class Fact>
void join(std::vector<Fact>& all, std::vector<Fact>& part) {
  all.insert(all.end(), std::make_move_iterator(part.begin()), std::make_move_iterator(part.end()));
}

void merge(Pooler& pooler, std::vector<WorkerPart>& parts, Snapshot& snapshot) {
  sum_pools(pooler, parts, snapshot);
  for (WorkerPart& part : parts) {
    join(snapshot.clients, part.clients);
    join(snapshot.servers, part.servers);
    snapshot.workers.push_back(std::move(part.worker));
  }
  const auto by_id = [](const auto& a, const auto& b) { return a.id < b.id; };
  std::sort(snapshot.clients.begin(), snapshot.clients.end(), by_id);
  std::sort(snapshot.servers.begin(), snapshot.servers.end(), by_id);
  snapshot.login_clients = static_cast<std::size_t>(
      std::count_if(snapshot.clients.begin(), snapshot.clients.end(),
                    [](const ClientFact& client) { return client.state == ClientFact::State::Login; }));
}

}  // namespace

Statistics::Sums Statistics::sums(const Catalog& catalog) const {
  Sums sums;
  sums["pgbouncer"] = console.totals();
  for (const Pool* pool : catalog.pools()) {
    Totals& database = sums[pool->database.name()];
    for (std::size_t i = 0; i < pool->workers(); ++i) {
      if (const PoolShard* shard = pool->shard(i)) database += shard->statistics.totals();
    }
  }
  return sums;
}

void take_snapshot(Pooler& pooler, const Statistics& statistics, TimePoint now, unsigned facts,
                   std::function<void(std::shared_ptr<Snapshot>)> done) {
  auto snapshot = std::make_shared<Snapshot>();
  snapshot->now = now;
  snapshot->wall = std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now());
  shared_facts(pooler, statistics, *snapshot);
  if (facts == kNoFacts || pooler.workers.empty()) return done(std::move(snapshot));
  // Each worker writes its own slot; the gathering's end is what makes them readable here.
  auto parts = std::make_shared<std::vector<WorkerPart>>(pooler.workers.size());
  pooler.gather([parts, facts](Worker& worker) { collect(worker, facts, (*parts)[worker.index()]); },
                [&pooler, parts, snapshot, done = std::move(done)] {
                  merge(pooler, *parts, *snapshot);
                  done(snapshot);
                });
}

}  // namespace pgvigil::pool
