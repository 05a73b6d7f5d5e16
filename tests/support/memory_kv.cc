#include "support/memory_kv.h"

#include <algorithm>
#include <boost/asio/post.hpp>

#include "support/compare.h"

namespace pgvigil::test {

using dcs::Compare;
using dcs::TxnReply;
using dcs::WriteOutcome;

struct MemoryKv::WatchState {
  std::string key, range_end;
  dcs::WatchHandler handler;
};

class MemoryKv::MemoryWatch final : public dcs::Watch {
 public:
  explicit MemoryWatch(std::shared_ptr<WatchState> state) : state_(std::move(state)) {}

 private:
  std::shared_ptr<WatchState> state_;
};

void MemoryKv::tell(dcs::WatchEvent event) {
  history_.push_back(event);
  for (const auto& weak : watches_) {
    const auto state = weak.lock();
    if (!state || event.kv.key < state->key || event.kv.key >= state->range_end) continue;
    asio::post(clock_.executor(), [weak, event, revision = Revision(revision_)] {
      if (const auto alive = weak.lock()) alive->handler.on_events(revision, {event});
    });
  }
}

void MemoryKv::put(const std::string& key, const std::string& value, LeaseId lease) {
  ++revision_;
  auto& kv = keys_[key];
  if (kv.key.empty()) kv.create_revision = Revision(revision_);
  kv.key = key;
  kv.value = value;
  kv.mod_revision = Revision(revision_);
  kv.lease = lease;
  tell({false, kv});
}

void MemoryKv::erase(const std::string& key) {
  if (keys_.erase(key) == 0) return;
  ++revision_;
  dcs::KeyValue gone;
  gone.key = key;
  gone.mod_revision = Revision(revision_);
  tell({true, gone});
}

void MemoryKv::expire(LeaseId lease) {
  leases_.erase(lease);
  std::vector<std::string> bound;
  for (const auto& [key, kv] : keys_) {
    if (kv.lease == lease) bound.push_back(key);
  }
  for (const auto& key : bound) erase(key);
}

std::string MemoryKv::value(const std::string& key) const {
  const auto found = keys_.find(key);
  return found == keys_.end() ? std::string() : found->second.value;
}

bool MemoryKv::holds(const Compare& compare) const {
  const auto found = keys_.find(compare.key);
  return test::holds(compare, found == keys_.end() ? nullptr : &found->second);
}

void MemoryKv::apply(const std::vector<dcs::Op>& ops) {
  const std::int64_t one = ++revision_;  // all of a transaction have one revision
  for (const auto& op : ops) {
    revision_ = one - 1;
    if (const auto* put_op = std::get_if<dcs::Put>(&op)) {
      put(put_op->key, put_op->value, put_op->lease);
    } else {
      erase(std::get<dcs::Delete>(op).key);
    }
    revision_ = one;
  }
}

Task<Result<dcs::RangeReply>> MemoryKv::range(std::string key, std::string range_end, dcs::Consistency, TimePoint) {
  if (silent) co_return fail(Errc::Timeout, "no answer");
  dcs::RangeReply reply;
  reply.revision = Revision(revision_);
  for (const auto& [name, kv] : keys_) {
    if (name >= key && name < range_end) reply.kvs.push_back(kv);
  }
  co_return reply;
}

Task<TxnReply> MemoryKv::txn(dcs::Txn txn, TimePoint) {
  TxnReply reply;
  if (silent) co_return reply;
  const auto all = [this](const std::vector<Compare>& compares) {
    return std::all_of(compares.begin(), compares.end(), [this](const Compare& c) { return holds(c); });
  };
  reply.outcome = WriteOutcome::Refused;
  if (all(txn.compares)) {
    apply(txn.success);
    reply.outcome = WriteOutcome::Applied;
  } else if (!txn.or_compares.empty() && all(txn.or_compares)) {
    apply(txn.or_success);
    reply.outcome = WriteOutcome::Applied;
    reply.by_or_branch = true;
  }
  reply.revision = Revision(revision_);
  if (lose_replies) reply = TxnReply();
  co_return reply;
}

Task<Result<LeaseId>> MemoryKv::lease_grant(std::chrono::seconds ttl, TimePoint) {
  if (silent) co_return fail(Errc::Timeout, "no answer");
  const LeaseId lease(++next_lease_);
  leases_[lease] = ttl;
  co_return lease;
}

Task<Result<std::chrono::seconds>> MemoryKv::lease_keepalive(LeaseId lease, TimePoint) {
  if (silent) co_return fail(Errc::Timeout, "no answer");
  const auto found = leases_.find(lease);
  if (found == leases_.end()) co_return fail(Errc::LeaseLost, "unknown lease");
  co_return found->second;
}

Task<Result<void>> MemoryKv::lease_revoke(LeaseId lease, TimePoint) {
  expire(lease);
  co_return Result<void>();
}

std::unique_ptr<dcs::Watch> MemoryKv::watch(std::string key, std::string range_end, Revision start,
                                            dcs::WatchHandler handler) {
  auto state = std::make_shared<WatchState>();
  state->key = std::move(key);
  state->range_end = std::move(range_end);
  state->handler = std::move(handler);
  std::weak_ptr<WatchState> weak = state;
  for (const auto& event : history_) {
    if (event.kv.mod_revision < start) continue;
    asio::post(clock_.executor(), [weak, event] {
      if (const auto alive = weak.lock()) alive->handler.on_events(event.kv.mod_revision, {event});
    });
  }
  watches_.push_back(state);
  return std::make_unique<MemoryWatch>(std::move(state));
}

void MemoryKv::break_watches(Errc why) {
  for (const auto& weak : watches_) {
    asio::post(clock_.executor(), [weak, why] {
      if (const auto alive = weak.lock()) alive->handler.on_lost(Error{why, "the watch was lost", {}, {}, {}});
    });
  }
}

}  // namespace pgvigil::test
