// etcd as its clients see it: one linearizable history of revisions, leases on a clock of its own, watches that resume,
// requests and replies that are lost, late, or applied after the client has given up. etcd documentation, "KV API
// guarantees" and "Lease API".
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dcs/kv_store.h"
#include "network.h"
#include "process.h"
#include "rules.h"

namespace pgvigil::sim {

class SimEtcd;

// One member's connection.
class SimKv final : public dcs::KvStore {
 public:
  SimKv(SimEtcd& etcd, Process& process, std::size_t place) : etcd_(etcd), process_(process), place_(place) {}

  Task<Result<dcs::RangeReply>> range(std::string key, std::string range_end, dcs::Consistency consistency,
                                      TimePoint deadline) override;
  Task<dcs::TxnReply> txn(dcs::Txn txn, TimePoint deadline) override;
  Task<Result<LeaseId>> lease_grant(std::chrono::seconds ttl, TimePoint deadline) override;
  Task<Result<std::chrono::seconds>> lease_keepalive(LeaseId lease, TimePoint deadline) override;
  Task<Result<void>> lease_revoke(LeaseId lease, TimePoint deadline) override;
  std::unique_ptr<dcs::Watch> watch(std::string key, std::string range_end, Revision start,
                                    dcs::WatchHandler handler) override;

 private:
  template <class T>
  Task<T> call(std::function<T()> on_server, T lost, T unreachable, TimePoint deadline);
  template <class T>
  Task<T> request(std::function<T()> on_server, TimePoint deadline);

  SimEtcd& etcd_;
  Process& process_;
  std::size_t place_;
};

class SimEtcd {
 public:
  struct Trouble {          // in force until changed
    Duration slow{0};       // a request takes up to this much longer
    double lose_reply = 0;  // applied, and the answer never arrives
    double lose_request = 0;
  };
  // Called before a change of a key takes effect; `after` is null for a deletion.
  using KeyObserver = std::function<void(const dcs::KeyValue* before, const dcs::KeyValue* after, bool expired)>;

  SimEtcd(World& world, Network& network, const Rules& rules, int parts_per_million)
      : world_(world), network_(network), rules_(rules), clock_(Duration(0), parts_per_million) {}

  void observe_key(std::string key, KeyObserver observer) { observers_[std::move(key)] = std::move(observer); }
  void set_trouble(Trouble trouble) {
    trouble_ = trouble;
    troubled_ = world_.now();
  }
  // Since when requests are answered as they should.
  [[nodiscard]] TimePoint calm_since() const { return troubled_; }
  // No quorum: requests wait, leases do not end. A new leader gives every lease its full time again.
  void lose_quorum();
  void regain_quorum();
  [[nodiscard]] bool available() const { return available_; }
  void compact();
  void break_watches();

  // An operator's own reads and writes, without a network.
  [[nodiscard]] const dcs::KeyValue* find(const std::string& key) const;
  dcs::TxnReply apply(const dcs::Txn& txn);

 private:
  friend class SimKv;
  struct Lease {
    std::chrono::seconds ttl;
    TimePoint expires;  // true time
  };
  struct Watcher {
    std::weak_ptr<Process> process;
    std::size_t place = 0;
    std::string key, range_end;
    dcs::WatchHandler handler;
    std::deque<std::pair<Revision, dcs::WatchEvent>> queue;
    bool pump_due = false;
    TimePoint blocked_since;
    bool blocked = false;
  };
  class SimWatch;

  void put(const dcs::Put& op, Revision revision);
  void erase(const std::string& key, Revision revision, bool expired);
  void tell(dcs::WatchEvent event);
  void pump(const std::shared_ptr<Watcher>& watcher);
  void plan_pump(const std::shared_ptr<Watcher>& watcher, Duration wait);
  void lose(const std::shared_ptr<Watcher>& watcher, Errc why);
  // When a lease that is granted or renewed now ends, by etcd's clock, as true time.
  [[nodiscard]] TimePoint end_of(std::chrono::seconds ttl) const;
  void plan_expiry(LeaseId lease);
  void when_available(std::function<void()> call);

  World& world_;
  Network& network_;
  const Rules& rules_;
  MachineClock clock_;
  Trouble trouble_;
  TimePoint troubled_;
  bool available_ = true;
  std::vector<std::function<void()>> waiting_;
  std::map<std::string, dcs::KeyValue> keys_;
  std::map<LeaseId, Lease> leases_;
  std::int64_t revision_ = 1, compacted_ = 0, last_lease_ = 1000;
  std::deque<std::pair<Revision, dcs::WatchEvent>> history_;
  std::vector<std::weak_ptr<Watcher>> watchers_;
  std::map<std::string, KeyObserver> observers_;
};

}  // namespace pgvigil::sim
