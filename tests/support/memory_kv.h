// A key-value store in memory with etcd's semantics as far as the cluster store needs them: revisions, transactions
// with an or-branch, leases that a test ends by hand, watches. Replies can be lost.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dcs/kv_store.h"

namespace pgvigil::test {

class MemoryKv final : public dcs::KvStore {
 public:
  explicit MemoryKv(Clock& clock) : clock_(clock) {}

  Task<Result<dcs::RangeReply>> range(std::string key, std::string range_end, dcs::Consistency consistency,
                                      TimePoint deadline) override;
  Task<dcs::TxnReply> txn(dcs::Txn txn, TimePoint deadline) override;
  Task<Result<LeaseId>> lease_grant(std::chrono::seconds ttl, TimePoint deadline) override;
  Task<Result<std::chrono::seconds>> lease_keepalive(LeaseId lease, TimePoint deadline) override;
  Task<Result<void>> lease_revoke(LeaseId lease, TimePoint deadline) override;
  std::unique_ptr<dcs::Watch> watch(std::string key, std::string range_end, Revision start,
                                    dcs::WatchHandler handler) override;

  // --- the test's side ---
  void put(const std::string& key, const std::string& value, LeaseId lease = LeaseId());
  void erase(const std::string& key);
  void expire(LeaseId lease);  // with all its keys
  [[nodiscard]] std::string value(const std::string& key) const;
  [[nodiscard]] bool has(const std::string& key) const { return keys_.count(key) > 0; }
  bool lose_replies = false;  // transactions are applied and answered Unknown
  bool silent = false;        // nothing is answered, nothing applied
  void break_watches(Errc why);

 private:
  struct WatchState;
  class MemoryWatch;
  [[nodiscard]] bool holds(const dcs::Compare& compare) const;
  void apply(const std::vector<dcs::Op>& ops);
  void tell(dcs::WatchEvent event);

  Clock& clock_;
  std::map<std::string, dcs::KeyValue> keys_;
  std::map<LeaseId, std::chrono::seconds> leases_;
  std::vector<dcs::WatchEvent> history_;
  std::vector<std::weak_ptr<WatchState>> watches_;
  std::int64_t revision_ = 1, next_lease_ = 100;
};

}  // namespace pgvigil::test
