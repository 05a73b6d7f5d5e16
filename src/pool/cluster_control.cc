#include "pool/cluster_control.h"

#include <utility>

#include "pool/server.h"
#include "pool/worker.h"

namespace pgvigil::pool {
namespace {

// How often the agent hears how far the drain has come, while it has not ended.
constexpr Duration kReportEvery = std::chrono::milliseconds(250);

// One worker's part of a drain: the transactions that still run on the leader, and the clients that wait for it. Once
// none runs anywhere, sessions that are idle lose their connection, too: the server is about to stop.
struct DrainPart {
  std::uint64_t active = 0, waiting = 0;
};
DrainPart drain_part(Worker& worker, bool end_idle_sessions) {
  DrainPart part;
  std::vector<Server*> idle_sessions;
  for (PoolShard* shard : worker.shards()) {
    if (shard->route == nullptr) continue;
    if (shard->route->held) part.waiting += shard->waiting.size();
    shard->active.each([&](Server& server) {
      if (!server.of_leader()) return;
      if (server.in_transaction()) {
        ++part.active;
      } else {
        idle_sessions.push_back(&server);
      }
    });
  }
  if (!end_idle_sessions) return part;
  for (Server* server : idle_sessions) {
    if (server->state() == ServerState::Closed) continue;
    server->close_with_client("the leader stops", {"57P01", "terminating connection: the leader of the cluster stops"});
  }
  return part;
}

}  // namespace

ClusterControl::~ClusterControl() {
  follower_.reset();
  if (timer_) loop_.cancel(*timer_);
}

Result<void> ClusterControl::start(const StartFollower& start_follower, const poolcfg::ClusterSection& section) {
  const RunningConfigPtr config = pooler_.config();
  const poolcfg::Settings& settings = config->settings();
  std::string address = settings.listen_addr.substr(0, settings.listen_addr.find(','));
  if (address.empty()) address = settings.unix_socket_dir;
  FollowerStart start{section, fmt::format("{}:{}", address, settings.listen_port), settings.unix_socket_dir,
                      pooler_.log, [this](ClusterState state) {
                        loop_.post([this, state = std::move(state)]() mutable { adopt(std::move(state)); });
                      }};
  PGV_TRY(follower, start_follower(std::move(start)));
  follower_ = std::move(follower);
  return {};
}

void ClusterControl::adopt(ClusterState state) {
  note_reign(state);
  state.reign = pooler_.reign.load();
  state_ = std::move(state);
  note_drain(*state_);
  tell_workers();
}

// First of all: from this store on, no worker sends a query on a connection of the reign before.
void ClusterControl::note_reign(const ClusterState& state) {
  if (state_ && same_reign(*state_, state)) return;
  ++pooler_.reign;
  for (Pool* pool : pooler_.catalog.pools()) pool->forget_failures();
  if (state.leader.empty()) {
    pooler_.log.put(Level::Log, "cluster: nobody leads; clients wait");
  } else {
    pooler_.log.put(Level::Log, "cluster: {} leads (term {}, seen by {})", state.leader.text(), state.term.value(),
                    to_string(state.source));
  }
  if (follower_) follower_->report(state.term, draining_ ? std::optional(draining_->report) : std::nullopt);
}

void ClusterControl::note_drain(const ClusterState& state) {
  const auto& request = state.drain;
  const bool meant = request && request->term == state.term && request->leader == state.leader;
  if (!meant) {
    if (!draining_) return;
    draining_.reset();
    pooler_.log.put(Level::Log, "cluster: the drain is over");
    if (follower_) follower_->report(state.term, std::nullopt);
    return;
  }
  if (!draining_ || draining_->report.id != request->id) {
    draining_ = Draining{{request->id, false, 0, 0}, loop_.now() + request->timeout + kGrace, false};
    pooler_.log.put(Level::Log, "cluster: {} is about to stop ({}): clients wait", request->leader.text(),
                    request->reason);
    reported_ago_ = kReportEvery;
  }
  look_soon();
}

bool ClusterControl::holds() const { return draining_ && !draining_->over; }

void ClusterControl::tell_workers() {
  state_->draining = holds();
  const auto shared = std::make_shared<const ClusterState>(*state_);
  pooler_.set_cluster(shared);
  pooler_.on_workers([shared](Worker& worker) { worker.adopt_cluster(shared); });
}

// --- a drain under way

void ClusterControl::look_soon() {
  if (timer_ || !draining_) return;
  const Duration pause = draining_->report.drained ? kLookDrained : kLook;
  timer_ = loop_.call_at(loop_.now() + pause, [this] {
    timer_.reset();
    look();
    look_soon();
  });
}

void ClusterControl::look() {
  if (!draining_ || draining_->over) return;
  if (state_->source != ClusterState::Source::Etcd && loop_.now() >= draining_->hold_until) {
    draining_->over = true;
    pooler_.log.put(Level::Warning,
                    "cluster: etcd is lost and nothing is heard of the drain: clients are served again");
    tell_workers();
    return;
  }
  reported_ago_ += kLook;
  if (asked_workers_ || draining_->report.drained) return;
  ask_workers(false);
}

void ClusterControl::ask_workers(bool end_idle_sessions) {
  asked_workers_ = true;
  auto active = std::make_shared<std::atomic<std::uint64_t>>(0);
  auto waiting = std::make_shared<std::atomic<std::uint64_t>>(0);
  const auto ask = [active, waiting, end_idle_sessions](Worker& worker) {
    const DrainPart part = drain_part(worker, end_idle_sessions);
    *active += part.active;
    *waiting += part.waiting;
  };
  pooler_.gather(ask, [this, active, waiting, end_idle_sessions, id = draining_->report.id] {
    asked_workers_ = false;
    if (!draining_ || draining_->report.id != id) return;
    if (*active == 0 && !end_idle_sessions) {
      ask_workers(true);  // and whether a session has begun something meanwhile
    } else {
      looked(*active, *waiting);
    }
  });
}

void ClusterControl::looked(std::uint64_t active, std::uint64_t waiting) {
  PoolerDrain& report = draining_->report;
  report.active = active;
  report.waiting = waiting;
  report.drained = active == 0;
  if (report.drained) {
    pooler_.log.put(Level::Log, "cluster: drained, {} clients wait", waiting);
  } else if (reported_ago_ < kReportEvery) {
    return;
  }
  reported_ago_ = Duration(0);
  if (follower_) follower_->report(state_->term, report);
}

}  // namespace pgvigil::pool
