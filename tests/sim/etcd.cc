#include "etcd.h"

#include <algorithm>

#include "support/compare.h"

namespace pgvigil::sim {
namespace {

// How long a client's keepalive takes to notice that nothing comes any more.
constexpr Duration kWatchPatience = std::chrono::seconds(5);

}  // namespace

class SimEtcd::SimWatch final : public dcs::Watch {
 public:
  explicit SimWatch(std::shared_ptr<Watcher> watcher) : watcher_(std::move(watcher)) {}

 private:
  std::shared_ptr<Watcher> watcher_;
};

// --- the server ---

const dcs::KeyValue* SimEtcd::find(const std::string& key) const {
  const auto found = keys_.find(key);
  return found == keys_.end() ? nullptr : &found->second;
}

void SimEtcd::put(const dcs::Put& op, Revision revision) {
  const auto* before = find(op.key);
  dcs::KeyValue after{op.key, op.value, before != nullptr ? before->create_revision : revision, revision, op.lease};
  if (const auto seen = observers_.find(op.key); seen != observers_.end()) seen->second(before, &after, false);
  tell({false, after});
  keys_[op.key] = std::move(after);
}

void SimEtcd::erase(const std::string& key, Revision revision, bool expired) {
  const auto found = keys_.find(key);
  if (found == keys_.end()) return;
  if (const auto seen = observers_.find(key); seen != observers_.end()) seen->second(&found->second, nullptr, expired);
  keys_.erase(found);
  dcs::KeyValue gone;
  gone.key = key;
  gone.mod_revision = revision;
  tell({true, gone});
}

dcs::TxnReply SimEtcd::apply(const dcs::Txn& txn) {
  const auto holds = [this](const dcs::Compare& compare) { return test::holds(compare, find(compare.key)); };
  const auto all = [this, &holds](const std::vector<dcs::Compare>& compares) {
    if (!rules_.compares || compares.empty()) return true;
    if (!rules_.all_compares) return holds(compares.front());
    return std::all_of(compares.begin(), compares.end(), holds);
  };
  dcs::TxnReply reply;
  reply.outcome = dcs::WriteOutcome::Refused;
  const std::vector<dcs::Op>* ops = nullptr;
  if (all(txn.compares)) {
    ops = &txn.success;
  } else if (!txn.or_compares.empty() && all(txn.or_compares)) {
    ops = &txn.or_success;
    reply.by_or_branch = true;
  }
  reply.revision = Revision(revision_);
  if (ops == nullptr) return reply;
  for (const auto& op : *ops) {
    const auto* put_op = std::get_if<dcs::Put>(&op);
    if (put_op != nullptr && put_op->lease.known() && leases_.count(put_op->lease) == 0) {
      reply.error = Error{Errc::LeaseLost, "cannot write", put_op->key, "the lease is unknown", {}};
      return reply;
    }
  }
  reply.outcome = dcs::WriteOutcome::Applied;
  if (ops->empty()) return reply;
  const Revision revision(++revision_);
  for (const auto& op : *ops) {
    if (const auto* put_op = std::get_if<dcs::Put>(&op)) {
      put(*put_op, revision);
    } else {
      const auto& key = std::get<dcs::Delete>(op).key;
      if (rules_.drain_taken_back || !key.ends_with("/drain")) erase(key, revision, false);
    }
  }
  reply.revision = revision;
  return reply;
}

TimePoint SimEtcd::end_of(std::chrono::seconds ttl) const { return clock_.true_time(clock_.local(world_.now()) + ttl); }

void SimEtcd::plan_expiry(LeaseId lease) {
  const TimePoint expires = leases_.at(lease).expires;
  world_.at(expires, [this, lease, expires] {
    const auto found = leases_.find(lease);
    if (!available_ || found == leases_.end() || found->second.expires != expires) return;
    leases_.erase(found);
    std::vector<std::string> bound;
    for (const auto& [key, kv] : keys_) {
      if (kv.lease == lease) bound.push_back(key);
    }
    world_.note("etcd: lease {} has expired with {} keys", lease.value(), bound.size());
    if (bound.empty()) return;
    const Revision revision(++revision_);
    for (const auto& key : bound) erase(key, revision, true);
  });
}

void SimEtcd::lose_quorum() {
  available_ = false;
  troubled_ = world_.now();
}

void SimEtcd::regain_quorum() {
  if (available_) return;
  available_ = true;
  troubled_ = world_.now();
  for (auto& [id, lease] : leases_) {
    lease.expires = end_of(lease.ttl);
    plan_expiry(id);
  }
  auto waiting = std::move(waiting_);
  waiting_.clear();
  for (const auto& call : waiting) {
    if (!world_.chance(0.3)) call();  // the others went to a member that has lost them
  }
}

void SimEtcd::when_available(std::function<void()> call) {
  if (available_) {
    call();
  } else {
    waiting_.push_back(std::move(call));
  }
}

void SimEtcd::compact() {
  compacted_ = revision_ - static_cast<std::int64_t>(world_.below(5));
  while (!history_.empty() && history_.front().first.value() <= compacted_) history_.pop_front();
}

// --- watches ---

void SimEtcd::tell(dcs::WatchEvent event) {
  std::erase_if(watchers_, [](const auto& weak) { return weak.expired(); });
  for (const auto& weak : watchers_) {
    const auto watcher = weak.lock();
    if (event.kv.key < watcher->key || event.kv.key >= watcher->range_end) continue;
    watcher->queue.emplace_back(event.kv.mod_revision, event);
    plan_pump(watcher, network_.latency());
  }
  history_.emplace_back(event.kv.mod_revision, std::move(event));
}

void SimEtcd::plan_pump(const std::shared_ptr<Watcher>& watcher, Duration wait) {
  if (watcher->pump_due) return;
  watcher->pump_due = true;
  world_.after(wait, [this, weak = std::weak_ptr<Watcher>(watcher)] {
    if (const auto alive = weak.lock()) {
      alive->pump_due = false;
      pump(alive);
    }
  });
}

void SimEtcd::pump(const std::shared_ptr<Watcher>& watcher) {
  if (watcher->queue.empty()) return;
  if (!network_.connected(watcher->place, network_.etcd())) {
    if (!watcher->blocked) watcher->blocked_since = world_.now();
    watcher->blocked = true;
    if (world_.now() - watcher->blocked_since > kWatchPatience) return lose(watcher, Errc::Unavailable);
    return plan_pump(watcher, 100ms);
  }
  watcher->blocked = false;
  const auto process = watcher->process.lock();
  if (!process) return;
  // The events of one revision arrive together.
  const Revision revision = watcher->queue.front().first;
  std::vector<dcs::WatchEvent> events;
  while (!watcher->queue.empty() && watcher->queue.front().first == revision) {
    events.push_back(std::move(watcher->queue.front().second));
    watcher->queue.pop_front();
  }
  process->deliver([weak = std::weak_ptr<Watcher>(watcher), revision, events = std::move(events)] {
    if (const auto alive = weak.lock()) alive->handler.on_events(revision, events);
  });
  if (!watcher->queue.empty()) plan_pump(watcher, 50us);
}

void SimEtcd::lose(const std::shared_ptr<Watcher>& watcher, Errc why) {
  watcher->queue.clear();
  std::erase_if(watchers_, [&](const auto& weak) { return weak.lock() == watcher; });
  if (const auto process = watcher->process.lock()) {
    process->deliver([weak = std::weak_ptr<Watcher>(watcher), why] {
      const auto alive = weak.lock();
      if (alive) alive->handler.on_lost(Error{why, "the watch was lost", {}, {}, {}});
    });
  }
}

void SimEtcd::break_watches() {
  const auto all = watchers_;
  for (const auto& weak : all) {
    if (const auto watcher = weak.lock(); watcher && world_.chance(0.7)) lose(watcher, Errc::Unavailable);
  }
}

std::unique_ptr<dcs::Watch> SimKv::watch(std::string key, std::string range_end, Revision start,
                                         dcs::WatchHandler handler) {
  auto watcher = std::make_shared<SimEtcd::Watcher>();
  watcher->process = process_.weak_from_this();
  watcher->place = place_;
  watcher->key = std::move(key);
  watcher->range_end = std::move(range_end);
  watcher->handler = std::move(handler);
  SimEtcd* etcd = &etcd_;
  etcd_.world_.after(etcd_.network_.latency(), [etcd, start, weak = std::weak_ptr<SimEtcd::Watcher>(watcher)] {
    const auto alive = weak.lock();
    if (!alive) return;
    if (!etcd->available_ || !etcd->network_.connected(alive->place, etcd->network_.etcd())) {
      return etcd->lose(alive, Errc::Unavailable);
    }
    if (start.value() <= etcd->compacted_) return etcd->lose(alive, Errc::Compacted);
    for (const auto& [revision, event] : etcd->history_) {
      if (revision < start || event.kv.key < alive->key || event.kv.key >= alive->range_end) continue;
      if (etcd->rules_.watch_resumes) alive->queue.emplace_back(revision, event);
    }
    etcd->watchers_.push_back(alive);
    etcd->plan_pump(alive, etcd->network_.latency());
  });
  return std::make_unique<SimEtcd::SimWatch>(std::move(watcher));
}

// --- one request and its answer ---

template <class T>
Task<T> SimKv::call(std::function<T()> on_server, T lost, T unreachable, TimePoint deadline) {
  SimEtcd* etcd = &etcd_;
  const std::size_t place = place_;
  std::function<void(Answer<T>)> start = [etcd, place, on_server, lost, unreachable, deadline, this](Answer<T> answer) {
    World& world = etcd->world_;
    Network& network = etcd->network_;
    (void)process_.clock.call_at(deadline, [answer, lost] { answer(lost); });
    const auto arrive = [etcd, place, on_server, answer, lost, &world, &network] {
      etcd->when_available([etcd, place, on_server, answer, lost, &world, &network] {
        const T reply = on_server();
        const bool gone = !network.reaches(network.etcd(), place) || world.chance(etcd->trouble_.lose_reply);
        if (!gone) {
          world.after(network.latency(), [answer, reply] { answer(reply); });
        } else if (world.chance(0.3)) {  // the connection breaks, and the client notices
          world.after(world.between(1ms, 1s), [answer, lost] { answer(lost); });
        }
      });
    };
    const Duration way =
        network.latency() + (etcd->trouble_.slow > 0ns ? world.between(0ns, etcd->trouble_.slow) : 0ns);
    if (network.reaches(place, network.etcd()) && !world.chance(etcd->trouble_.lose_request)) {
      world.after(way, arrive);
    } else if (world.chance(0.2)) {  // kept in some buffer, and applied when nobody waits for it any more
      world.after(world.between(1s, 15s), [place, arrive, &network] {
        if (network.reaches(place, network.etcd())) arrive();
      });
    } else if (world.chance(0.2)) {
      world.after(world.between(1ms, 500ms), [answer, unreachable] { answer(unreachable); });
    }
  };
  co_return co_await process_.wait_for<T>(std::move(start));
}

// One that can be asked again: no answer is no answer, whatever became of it.
template <class T>
Task<T> SimKv::request(std::function<T()> on_server, TimePoint deadline) {
  T lost = fail(Errc::Timeout, "etcd did not answer");
  T unreachable = fail(Errc::Unavailable, "etcd cannot be reached");
  co_return co_await call<T>(std::move(on_server), std::move(lost), std::move(unreachable), deadline);
}

Task<Result<dcs::RangeReply>> SimKv::range(std::string key, std::string range_end, dcs::Consistency,
                                           TimePoint deadline) {
  using T = Result<dcs::RangeReply>;
  std::function<T()> on_server = [etcd = &etcd_, key, range_end]() -> T {
    dcs::RangeReply reply;
    reply.revision = Revision(etcd->revision_);
    for (auto it = etcd->keys_.lower_bound(key); it != etcd->keys_.end() && it->first < range_end; ++it) {
      reply.kvs.push_back(it->second);
    }
    return reply;
  };
  co_return co_await request(std::move(on_server), deadline);
}

Task<dcs::TxnReply> SimKv::txn(dcs::Txn txn, TimePoint deadline) {
  std::function<dcs::TxnReply()> on_server = [etcd = &etcd_, txn = std::move(txn)] { return etcd->apply(txn); };
  dcs::TxnReply lost;
  lost.error = Error{Errc::Timeout, "etcd did not answer", {}, {}, {}};
  dcs::TxnReply unreachable = lost;
  co_return co_await call<dcs::TxnReply>(std::move(on_server), std::move(lost), std::move(unreachable), deadline);
}

Task<Result<LeaseId>> SimKv::lease_grant(std::chrono::seconds ttl, TimePoint deadline) {
  using T = Result<LeaseId>;
  std::function<T()> on_server = [etcd = &etcd_, ttl]() -> T {
    const LeaseId lease(++etcd->last_lease_);
    etcd->leases_[lease] = {ttl, etcd->end_of(ttl)};
    etcd->plan_expiry(lease);
    return lease;
  };
  co_return co_await request(std::move(on_server), deadline);
}

Task<Result<std::chrono::seconds>> SimKv::lease_keepalive(LeaseId lease, TimePoint deadline) {
  using T = Result<std::chrono::seconds>;
  std::function<T()> on_server = [etcd = &etcd_, lease]() -> T {
    const auto found = etcd->leases_.find(lease);
    if (found == etcd->leases_.end()) return fail(Errc::LeaseLost, "etcd does not know the lease");
    found->second.expires = etcd->end_of(found->second.ttl);
    etcd->plan_expiry(lease);
    return found->second.ttl;
  };
  co_return co_await request(std::move(on_server), deadline);
}

Task<Result<void>> SimKv::lease_revoke(LeaseId lease, TimePoint deadline) {
  using T = Result<void>;
  std::function<T()> on_server = [etcd = &etcd_, lease]() -> T {
    const auto found = etcd->leases_.find(lease);
    if (found == etcd->leases_.end()) return fail(Errc::LeaseLost, "etcd does not know the lease");
    found->second.expires = etcd->world_.now();
    etcd->plan_expiry(lease);
    return {};
  };
  co_return co_await request(std::move(on_server), deadline);
}

}  // namespace pgvigil::sim
