#include "pool/worker.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "pool/client_login.h"
#include "pool/server.h"

namespace pgvigil::pool {
namespace {

constexpr Duration kMaintenance = std::chrono::milliseconds(333);

}  // namespace

Worker::Worker(Pooler& pooler, std::size_t index, std::unique_ptr<netio::Loop> loop)
    : pooler_(pooler), index_(index), loop_(std::move(loop)), config_(pooler.config()) {}

Worker::~Worker() { stop(); }

void Worker::start() {
  thread_ = std::thread([this] {
    // Signals are the control thread's.
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    pthread_setname_np(pthread_self(), fmt::format("pool-{}", index_).c_str());
    loop_->post([this] { maintain(); });
    loop_->run();
  });
}

void Worker::stop() {
  if (!thread_.joinable()) return;
  loop_->stop();
  thread_.join();
}

void Worker::take_client(int fd, const ClientAddress& address, std::uint16_t listen_port) {
  ++pooler_.client_count;
  ++client_count;
  auto* client = new Client(*this, pooler_.next_id.fetch_add(1), fd, address, listen_port);
  logins.push_back(*client);
}

PoolShard& Worker::shard(Pool& pool) {
  if (PoolShard* known = pool.shard(index_)) return *known;
  auto* made = new PoolShard(pool, *this);
  pool.set_shard(index_, made);
  shards_.push_back(made);
  return *made;
}

void Worker::adopt(RunningConfigPtr config) {
  config_ = std::move(config);
  make_routes();
  for (PoolShard* shard : shards_) {
    shard->apply_rules();
    shard->follow_route();
  }
}

void Worker::adopt_cluster(ClusterStatePtr cluster) {
  cluster_ = std::move(cluster);
  make_routes();
  for (PoolShard* shard : shards_) shard->follow_route();
}

// In place: shards refer to them.
void Worker::make_routes() {
  const auto& section = config_->file.cluster;
  if (!section) return;
  using enum poolcfg::ServerRole;
  for (const auto role : {Primary, Replica, Any}) {
    routes_[static_cast<std::size_t>(role)] = make_route(cluster_.get(), role, *section);
  }
}

Client* Worker::login_by_id(std::uint64_t id) {
  for (Client* client = logins.first(); client != nullptr; client = logins.after(*client)) {
    if (client->id() == id) return client;
  }
  return nullptr;
}

void Worker::maintain() {
  const TimePoint now = loop_->now();
  const poolcfg::Settings& all = settings();
  for (PoolShard* shard : shards_) shard->maintain(now);
  if (all.client_login_timeout.count() > 0) {
    logins.each([&](Client& client) {
      if (now - client.connected_at() > all.client_login_timeout) client.login()->timed_out();
    });
  }
  check_idle_clients(now);
  loop_->call_at(now + kMaintenance, [this] { maintain(); });
}

void Worker::check_idle_clients(TimePoint now) {
  const poolcfg::Settings& all = settings();
  bool any = all.client_idle_timeout.count() > 0;
  for (const auto& [name, user] : config_->file.users) any = any || user.client_idle_timeout.has_value();
  if (!any) return;
  clients.each([&](Client& client) {
    if (client.server() != nullptr || client.state() != Client::State::Ready) return;
    const auto own = config_->file.users.find(client.user()->name());
    const Duration limit = own != config_->file.users.end() && own->second.client_idle_timeout
                               ? *own->second.client_idle_timeout
                               : all.client_idle_timeout;
    if (limit.count() > 0 && now - client.last_activity() > limit) client.refuse("client_idle_timeout");
  });
}

// --- the graveyard

void Worker::bury(std::unique_ptr<Client> client) {
  dead_clients_.push_back(std::move(client));
  arrange_burial();
}

void Worker::bury(std::unique_ptr<Server> server) {
  dead_servers_.push_back(std::move(server));
  arrange_burial();
}

void Worker::bury(std::shared_ptr<void> object) {
  if (object == nullptr) return;
  dead_objects_.push_back(std::move(object));
  arrange_burial();
}

void Worker::arrange_burial() {
  if (burial_due_) return;
  burial_due_ = true;
  loop_->at_turn_end([this] { empty_graveyard(); });
}

void Worker::empty_graveyard() {
  burial_due_ = false;
  // Destructors may bury more.
  const auto clients_now = std::move(dead_clients_);
  const auto servers_now = std::move(dead_servers_);
  const auto objects_now = std::move(dead_objects_);
  dead_clients_.clear();
  dead_servers_.clear();
  dead_objects_.clear();
}

}  // namespace pgvigil::pool
