// Patroni's key layout over a KvStore: the cached view of one cluster (kept by a watch) and the writes that the rules
// permit. The same code runs over etcd and in the simulator. Single-threaded, on the clock's executor.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/task_group.h"
#include "dcs/kv_store.h"
#include "model/cluster_view.h"

namespace pgvigil::dcs {

// Parses the `config` key. Given by the caller (config/dynamic.h) so that dcs needs no YAML. On unusable text it
// returns an error and the last good settings stay in force.
using SettingsParser = std::function<Result<ClusterSettings>(const std::string& json)>;

struct ClusterStoreOptions {
  std::string name_space = "service";  // Patroni's `namespace`
  std::string scope;
  MemberName self;
  ClusterSettings initial_settings;  // until `config` was read
  SettingsParser parse_settings;
  std::uint64_t seed = 1;  // of the jitter between attempts
};

struct LeaseProof {  // "the lease lives at least until sent_at + ttl"
  LeaseId lease;
  TimePoint sent_at;  // read before the request left
  Duration ttl{0};
  [[nodiscard]] TimePoint proven_until() const { return sent_at + ttl; }
};

class ClusterStore {
 public:
  ClusterStore(Clock& clock, KvStore& kv, Log log, ClusterStoreOptions options);
  ~ClusterStore();
  ClusterStore(const ClusterStore&) = delete;
  ClusterStore& operator=(const ClusterStore&) = delete;

  // Starts reading and watching; never fails: while etcd is away it goes on trying (0.1 s doubling to 1 s, jitter).
  void start();
  // After this, once the executor has run what was due, the store may be destroyed.
  void stop();
  // Runs after each change of the view, on the executor. `what` names the keys that changed ("leader", "config",
  // "status", "members/a", ...).
  using ChangeHandler = std::function<void(const std::vector<std::string>& changed_keys)>;
  void on_change(ChangeHandler handler);

  // The cached view; null until the first read succeeded.
  [[nodiscard]] std::shared_ptr<const ClusterView> view() const;
  // Whether the cache is followed by a live watch right now, and when etcd last answered anything at all.
  [[nodiscard]] bool following() const;
  [[nodiscard]] std::optional<TimePoint> last_answer() const;
  [[nodiscard]] std::optional<WallTime> last_answer_wall() const;
  // Reads everything anew, linearizably, and replaces the cache. Used after an Unknown outcome and by the tools.
  Task<Result<std::shared_ptr<const ClusterView>>> refresh(TimePoint deadline);

  // --- the session lease (bound to `leader` and `members/<self>`) ---
  // The proof of the last grant or confirmed renewal; empty before the first grant and after the lease was lost.
  [[nodiscard]] std::optional<LeaseProof> lease() const;
  // Grants the lease with the settings' ttl if there is none (or if the ttl has changed: then a new one), else renews
  // it. LeaseLost: etcd answered that it is gone; the proof is dropped, the next call grants anew.
  Task<Result<LeaseProof>> ensure_lease(TimePoint deadline);

  // --- the leader key: every write of it is a compare ---
  // create_revision = 0 -> put with my lease. Applied also when the key already is mine with my lease. Refused too when
  // the keys that a race is decided on (status, history, sync, the claimed timeline) are not what the view shows: a
  // member that was cut off through a whole reign must not win by what it knew before.
  Task<TxnReply> acquire_leader(TimePoint deadline);
  // For a key that carries my name under another lease (restart of the agent, change of ttl): if value = me and
  // mod_revision is unchanged from the view -> put with my lease.
  Task<TxnReply> reattach_leader(TimePoint deadline);
  // if value = me and mod_revision is unchanged from the view: delete; `status` is written before when given. After an
  // Unknown outcome the deletion may come at any later time, until reattach_leader() was applied: that moves the
  // revision on, and what is still under way compares in vain.
  // `request`, when given, goes into the `failover` key in the same step: it names who shall take over.
  Task<TxnReply> release_leader(std::optional<ClusterStatus> status, std::optional<FailoverRequest> request,
                                TimePoint deadline);

  // --- other keys ---
  // absent -> "". Together with it go our own keys pgvigil/bootstrap_owner, so that after an Unknown outcome the view
  // tells whose claim it is, and pgvigil/bootstrap under the lease, which tells whether the claimant still lives. The
  // claim of one who does not is taken over, and our own of an earlier time is renewed.
  Task<TxnReply> claim_initialize(TimePoint deadline);
  // The creation has succeeded: only if `claim` still stands. An earlier attempt's write that comes late does nothing.
  Task<TxnReply> found(const SystemId& id, Revision claim, TimePoint deadline);
  // An existing data directory brings the cluster into etcd: put under compare of the seen revision.
  Task<TxnReply> write_initialize(const SystemId& id, TimePoint deadline);
  Task<TxnReply> delete_initialize(Revision claim, TimePoint deadline);  // only if still our claim
  Task<TxnReply> write_member(std::string json, TimePoint deadline);     // put with my lease
  // The leader's own keys: refused when the leader key is not ours under our lease. One that was frozen through its
  // successor's election must not tell the next race of its own position.
  Task<TxnReply> write_status(ClusterStatus status, TimePoint deadline);
  Task<TxnReply> write_history(std::string json, TimePoint deadline);
  Task<TxnReply> write_config_history(std::string json, TimePoint deadline);
  Task<TxnReply> write_crash(CrashNote note, TimePoint deadline);
  // Asks the poolers to drain; bound to our lease, so that a leader that dies leaves no request behind for longer.
  Task<TxnReply> write_drain(DrainRequest request, TimePoint deadline);
  // Takes back the request that the view shows, whoever made it, and the note of how it went. release_leader() takes
  // back the request by itself, and leaves the note to the successor.
  Task<TxnReply> delete_drain(TimePoint deadline);
  Task<TxnReply> write_drain_note(DrainNote note, TimePoint deadline);
  // Claims a timeline number for a promotion.
  Task<TxnReply> reserve_timeline(Timeline timeline, TimePoint deadline);
  Task<TxnReply> write_config(std::string json, std::optional<Revision> expected,
                              TimePoint deadline);  // nullopt: plain
  Task<TxnReply> write_failover(std::string json, std::optional<Revision> expected, TimePoint deadline);
  // Refused when the leader key is not ours, too: in quorum mode a successor leaves the key's revision as it is until
  // it leads, and a late write of its predecessor must not change what it was elected by.
  Task<TxnReply> write_sync(std::string json, Revision expected, TimePoint deadline);  // 0: must not exist
  Task<TxnReply> delete_sync(Revision expected, TimePoint deadline);
  Task<TxnReply> write_failsafe(std::string json, TimePoint deadline);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// "/service/demo/" -> key prefix of a cluster (with the slash), runs of slashes collapsed.
std::string cluster_prefix(const std::string& name_space, const std::string& scope);
// The smallest key greater than every key with this prefix.
std::string prefix_end(const std::string& prefix);

}  // namespace pgvigil::dcs
