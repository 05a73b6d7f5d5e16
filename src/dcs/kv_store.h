// The port to etcd v3: key-value, transactions, leases, watches, and nothing of Patroni's layout. Implemented by
// dcs/etcd (gRPC) and by the simulator. etcd documentation, "API reference" (KV, Lease and Watch services).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "model/ids.h"

namespace pgvigil::dcs {

struct KeyValue {
  std::string key, value;
  Revision create_revision, mod_revision;
  LeaseId lease;
};

struct RangeReply {
  Revision revision;  // of the store when it answered
  std::vector<KeyValue> kvs;
};

struct Compare {  // "equal" is the only relation we need
  enum class Target : std::uint8_t { CreateRevision, ModRevision, Value, Lease };
  std::string key;
  Target target = Target::CreateRevision;
  std::int64_t number = 0;  // for the revisions and the lease; CreateRevision 0 = the key does not exist
  std::string value;        // for Value
};

struct Put {
  std::string key, value;
  LeaseId lease;  // 0: none
};
struct Delete {
  std::string key, range_end;  // empty range_end: just the key
};
using Op = std::variant<Put, Delete>;

// if (all compares) success else if (all or_compares and or_compares is not empty) or_success.
struct Txn {
  std::vector<Compare> compares;
  std::vector<Op> success;
  std::vector<Compare> or_compares;  // nested in the failure branch
  std::vector<Op> or_success;
};

// A write has three outcomes. Unknown: sent, no answer; it may be applied now, later or never. Read before acting.
enum class WriteOutcome : std::uint8_t { Applied, Refused, Unknown };

struct TxnReply {
  WriteOutcome outcome = WriteOutcome::Unknown;
  Revision revision;           // of the store after an answer; 0 when unknown
  bool by_or_branch = false;   // applied by or_success
  std::optional<Error> error;  // why the outcome is Unknown, or why a put failed (Errc::LeaseLost: the lease is gone)
};

enum class Consistency : std::uint8_t { Linearizable, Serializable };

struct WatchEvent {
  bool deleted = false;
  KeyValue kv;  // of a deletion: key and mod_revision only
};

// Called on the executor. After on_lost the watch is over and a new one has to be started.
struct WatchHandler {
  std::function<void(Revision revision, std::vector<WatchEvent> events)> on_events;  // may be empty: progress
  std::function<void(Error why)> on_lost;  // Errc::Compacted: read everything anew; else reconnect from revision + 1
};

class Watch {  // destroying it ends the watch; no handler runs afterwards
 public:
  virtual ~Watch() = default;
};

class KvStore {
 public:
  virtual ~KvStore() = default;

  // Every call answers or fails by its deadline; endpoints are tried in turn within it.
  virtual Task<Result<RangeReply>> range(std::string key, std::string range_end, Consistency consistency,
                                         TimePoint deadline) = 0;
  // Not retried once it may have reached a server: the outcome is then Unknown.
  virtual Task<TxnReply> txn(Txn txn, TimePoint deadline) = 0;
  virtual Task<Result<LeaseId>> lease_grant(std::chrono::seconds ttl, TimePoint deadline) = 0;
  // Error LeaseLost when the store answered that it does not know the lease.
  virtual Task<Result<std::chrono::seconds>> lease_keepalive(LeaseId lease, TimePoint deadline) = 0;
  virtual Task<Result<void>> lease_revoke(LeaseId lease, TimePoint deadline) = 0;
  // Events of [key, range_end) from `start` on. Fails through on_lost, never inline.
  virtual std::unique_ptr<Watch> watch(std::string key, std::string range_end, Revision start,
                                       WatchHandler handler) = 0;
};

}  // namespace pgvigil::dcs
