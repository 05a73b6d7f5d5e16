// A shard in a cluster: what a change of the route means for its connections, and how often a leader is asked.
#include <algorithm>

#include "pool/server.h"
#include "pool/worker.h"

namespace pgvigil::pool {
namespace {

// A leader is asked this often while it is being promoted or started: what is lost here, every client waits for.
constexpr Duration kRetryFirst = std::chrono::milliseconds(25);
constexpr Duration kRetryLast = std::chrono::milliseconds(500);
constexpr unsigned kQuickRetries = 80;

}  // namespace

bool PoolShard::failed_before(std::string_view reason) const {
  if (route == nullptr) return false;
  const ConnectHistory history = pool.history();
  return history.last_failed && history.reason == reason;
}

Duration PoolShard::retry_delay(const ConnectHistory& history) const {
  const Duration limit = worker.settings().server_login_retry;
  if (route == nullptr) return limit;
  return std::min(limit, history.failures < kQuickRetries ? kRetryFirst : kRetryLast);
}

void PoolShard::retry_soon() {
  if (retry_due_) return;
  retry_due_ = true;
  worker.loop().call_at(worker.now() + retry_delay(pool.history()) + std::chrono::milliseconds(1), [this] {
    retry_due_ = false;
    pump();
  });
}

// Those that wait grow the pool, up to the bound on connects under way, as soon as one has shown that the server takes
// connections: not only when the next client comes.
void PoolShard::connected() {
  if (route != nullptr && !waiting.empty() && !blocked()) seek();
}

// The one whose member has the fewest clients now; one that has to be closed first of all.
Server* PoolShard::first_idle() const {
  Server* best = nullptr;
  for (Server* server = idle.first(); server != nullptr; server = idle.after(*server)) {
    if (server->close_needed() || server->dirty()) return server;
    if (best == nullptr || server->member_load() < best->member_load()) best = server;
  }
  return best;
}

bool PoolShard::fits_route(const Server& server) const {
  const RouteTarget* target = server.target();
  if (target == nullptr || server.fenced()) return false;
  return std::any_of(route->targets.begin(), route->targets.end(), [&](const RouteTarget& known) {
    return known.member == target->member && known.host == target->host && known.port == target->port &&
           known.leader == target->leader;
  });
}

void PoolShard::follow_route() {
  if (route == nullptr) return;
  // Closing one changes the lists: what is closed is chosen first. Memory outlives the turn.
  std::vector<Server*> unfit, past;
  for (auto* list : {&login, &idle, &used, &tested, &being_canceled}) {
    list->each([&](Server& server) {
      if (!fits_route(server)) unfit.push_back(&server);
    });
  }
  active.each([&](Server& server) {
    if (server.fenced()) {
      past.push_back(&server);
    } else if (!fits_route(server)) {
      server.mark_close_needed();
    }
  });
  for (Server* server : unfit) {
    if (server->state() != ServerState::Closed) server->close("the cluster has changed");
  }
  for (Server* server : past) {
    if (server->state() != ServerState::Closed) server->close_with_client("the leader's reign is over", kPastReign);
  }
  if (route->refused) refuse_waiting({"57P03", "no replica may serve reads now (replica_fallback=refuse)"});
  if (spreads()) rebalance();
  publish_idle();
  pump();
}

// A member that has joined gets its share: of what others have beyond theirs, the connections end after their
// transaction, and new ones go where the fewest are.
void PoolShard::rebalance() {
  const std::size_t total = idle.size() + used.size() + active.size() + login.size();
  const std::size_t share = (total + route->targets.size() - 1) / route->targets.size();
  for (const RouteTarget& target : route->targets) {
    std::size_t count = 0;
    std::vector<Server*> beyond;
    for (auto* list : {&login, &active, &used, &idle}) {
      list->each([&](Server& server) {
        if (server.target() == nullptr || server.target()->member != target.member || server.close_needed()) return;
        if (++count > share) beyond.push_back(&server);
      });
    }
    for (Server* server : beyond) {
      if (server->state() == ServerState::Active) {
        server->mark_close_needed();
      } else {
        server->close("another member takes its share");
      }
    }
  }
}

}  // namespace pgvigil::pool
