#include "dcs/cluster_store.h"

#include <algorithm>

#include "base/rng.h"
#include "dcs/layout.h"
#include "dcs/member_json.h"
#include "dcs/view_cache.h"

namespace pgvigil::dcs {
namespace {

constexpr Duration kRetryFirst = std::chrono::milliseconds(100);
constexpr Duration kRetryLast = std::chrono::seconds(1);

std::chrono::seconds whole_seconds(Duration d) { return std::chrono::ceil<std::chrono::seconds>(d); }

Compare value_is(const std::string& key, std::string value) {
  return {key, Compare::Target::Value, 0, std::move(value)};
}
Compare absent(const std::string& key) { return {key, Compare::Target::CreateRevision, 0, {}}; }
Compare unchanged_since(const std::string& key, Revision revision) {
  if (revision.value() == 0) return absent(key);
  return {key, Compare::Target::ModRevision, revision.value(), {}};
}

}  // namespace

std::string cluster_prefix(const std::string& name_space, const std::string& scope) {
  const std::string raw = "/" + name_space + "/" + scope + "/";
  std::string prefix;
  for (const char c : raw) {
    if (c != '/' || prefix.empty() || prefix.back() != '/') prefix += c;
  }
  return prefix;
}

std::string prefix_end(const std::string& prefix) {
  std::string end = prefix;
  while (!end.empty() && static_cast<unsigned char>(end.back()) == 0xff) end.pop_back();
  if (end.empty()) return std::string(1, '\0');  // etcd: every key from here on
  end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return end;
}

struct ClusterStore::Impl {
  Impl(Clock& clock_in, KvStore& kv_in, Log log_in, ClusterStoreOptions options_in)
      : clock(clock_in),
        kv(kv_in),
        log(log_in.in_room("dcs")),
        options(std::move(options_in)),
        prefix(cluster_prefix(options.name_space, options.scope)),
        cache(log, prefix, options.initial_settings, options.parse_settings),
        rng(options.seed),
        tasks(clock),
        changed(clock),
        lease_free(clock) {}

  // --- reading ---
  Task<void> follow();
  Task<Result<void>> read(TimePoint deadline);
  Task<void> watch_until_lost();
  void notify(std::vector<std::string> keys);
  void answered() {
    last_answer = clock.now();
    last_answer_wall = clock.wall();
  }
  [[nodiscard]] const ClusterSettings& settings() const {
    const auto view = cache.view();
    return view ? view->settings : options.initial_settings;
  }
  [[nodiscard]] std::string key(std::string_view name) const { return prefix + std::string(name); }
  [[nodiscard]] LeaseId my_lease() const { return proof ? proof->lease : LeaseId(); }

  // --- writing ---
  Task<TxnReply> commit(Txn txn, TimePoint deadline);
  void adopt_own_writes(const Txn& txn, const TxnReply& reply);
  Task<TxnReply> put_if(std::string name, std::string value, LeaseId lease, std::optional<Compare> compare,
                        TimePoint deadline);
  Task<TxnReply> write_initialize(std::vector<Compare> compares, const SystemId& id, TimePoint deadline);
  [[nodiscard]] std::vector<Compare> as_leader() const;  // the leader key is ours under our lease
  Task<TxnReply> put_as_leader(std::string_view name, std::string value, TimePoint deadline);
  Task<Result<LeaseProof>> renew_or_grant(TimePoint deadline);

  Clock& clock;
  KvStore& kv;
  Log log;
  ClusterStoreOptions options;
  std::string prefix;
  ViewCache cache;
  Rng rng;
  TaskGroup tasks;
  Signal changed;  // the watch was lost, or stop()
  Signal lease_free;
  ChangeHandler handler;
  std::unique_ptr<Watch> watch;
  std::optional<Error> watch_lost;
  bool stopped = false, following = false, lease_busy = false, silent = false;
  std::optional<LeaseProof> proof;
  std::optional<TimePoint> last_answer;
  std::optional<WallTime> last_answer_wall;
};

Task<Result<void>> ClusterStore::Impl::read(TimePoint deadline) {
  auto reply = co_await kv.range(prefix, prefix_end(prefix), Consistency::Linearizable, deadline);
  if (!reply) co_return tl::make_unexpected(reply.error());
  answered();
  const bool first = cache.view() == nullptr;
  auto keys = cache.load(reply->kvs, reply->revision);
  if (first || !keys.empty()) notify(std::move(keys));
  co_return Result<void>();
}

void ClusterStore::Impl::notify(std::vector<std::string> keys) {
  if (handler) handler(keys);
}

Task<void> ClusterStore::Impl::watch_until_lost() {
  watch_lost.reset();
  WatchHandler watch_handler;
  watch_handler.on_events = [this](Revision revision, const std::vector<WatchEvent>& events) {
    answered();
    std::vector<std::string> keys;
    for (const auto& event : events) {
      const bool news = event.deleted ? cache.erase(event.kv.key, event.kv.mod_revision) : cache.put(event.kv);
      if (news) keys.push_back(cache.short_name(event.kv.key));
    }
    cache.reached(revision);
    if (!keys.empty()) notify(std::move(keys));
  };
  watch_handler.on_lost = [this](Error why) {
    watch_lost = std::move(why);
    changed.notify();
  };
  watch = kv.watch(prefix, prefix_end(prefix), cache.view()->revision.next(), std::move(watch_handler));
  following = true;
  while (!stopped && !watch_lost) (void)co_await changed.wait_until(TimePoint::max());
  following = false;
  watch.reset();
}

Task<void> ClusterStore::Impl::follow() {
  Duration retry = kRetryFirst;
  bool reread = true;
  while (!stopped) {
    if (reread) {
      const TimePoint deadline = clock.now() + settings().retry_timeout;
      auto done = co_await read(deadline);
      if (stopped) co_return;
      if (!done) {
        if (!silent) log.warning("cannot read the cluster: {}", done.error().message());
        silent = true;
        const auto jitter = std::chrono::milliseconds(rng.below(100));
        co_await sleep_for(clock, retry + jitter);
        retry = std::min(retry * 2, kRetryLast);
        continue;
      }
      if (silent) log.info("etcd answers again");
      silent = false;
      reread = false;
    }
    const TimePoint began = clock.now();
    co_await watch_until_lost();
    if (stopped) co_return;
    reread = watch_lost->code == Errc::Compacted;
    log.debug("the watch was lost: {}", watch_lost->message());
    // A watch that lived for a while is replaced at once; one that fails again and again is not.
    if (clock.now() - began > kRetryLast) retry = kRetryFirst;
    const auto jitter = std::chrono::milliseconds(rng.below(100));
    co_await sleep_for(clock, retry + jitter);
    retry = std::min(retry * 2, kRetryLast);
  }
}

void ClusterStore::Impl::adopt_own_writes(const Txn& txn, const TxnReply& reply) {
  const Revision revision = reply.revision;
  const auto& ops = reply.by_or_branch ? txn.or_success : txn.success;
  const auto& compares = reply.by_or_branch ? txn.or_compares : txn.compares;
  const auto created = [&compares](const std::string& name) {
    return std::any_of(compares.begin(), compares.end(), [&name](const Compare& c) {
      return c.key == name && c.target == Compare::Target::CreateRevision && c.number == 0;
    });
  };
  std::vector<std::string> keys;
  for (const auto& op : ops) {
    if (const auto* put = std::get_if<Put>(&op)) {
      KeyValue entry{put->key, put->value, revision, revision, put->lease};
      const auto view = cache.view();
      // The leader key's create revision is the term: it survives a put over the existing key.
      if (put->key == key(kLeaderKey) && view && view->leader && !created(put->key)) {
        entry.create_revision = Revision(view->leader->term.value());
      }
      if (cache.put(entry)) keys.push_back(cache.short_name(put->key));
    } else if (const auto* erased = std::get_if<Delete>(&op); erased != nullptr && erased->range_end.empty()) {
      if (cache.erase(erased->key, revision)) keys.push_back(cache.short_name(erased->key));
    }
  }
  if (!keys.empty()) notify(std::move(keys));
}

Task<TxnReply> ClusterStore::Impl::commit(Txn txn, TimePoint deadline) {
  const Txn sent = txn;
  auto reply = co_await kv.txn(std::move(txn), deadline);
  if (reply.outcome != WriteOutcome::Unknown) answered();
  if (reply.error && reply.error->code == Errc::LeaseLost) proof.reset();
  if (reply.outcome == WriteOutcome::Applied) {
    adopt_own_writes(sent, reply);
  }
  co_return reply;
}

Task<TxnReply> ClusterStore::Impl::put_if(std::string name, std::string value, LeaseId lease,
                                          std::optional<Compare> compare, TimePoint deadline) {
  Txn txn;
  if (compare) txn.compares.push_back(std::move(*compare));
  txn.success.emplace_back(Put{key(name), std::move(value), lease});
  co_return co_await commit(std::move(txn), deadline);
}

Task<TxnReply> ClusterStore::Impl::write_initialize(std::vector<Compare> compares, const SystemId& id,
                                                    TimePoint deadline) {
  Txn txn;
  txn.compares = std::move(compares);
  txn.success.emplace_back(Put{key(kInitializeKey), id.text(), LeaseId()});
  txn.success.emplace_back(Delete{key(kBootstrapKey), {}});
  txn.success.emplace_back(Delete{key(kBootstrapOwnerKey), {}});
  co_return co_await commit(std::move(txn), deadline);
}

std::vector<Compare> ClusterStore::Impl::as_leader() const {
  const std::string leader = key(kLeaderKey);
  return {value_is(leader, options.self.text()), Compare{leader, Compare::Target::Lease, my_lease().value(), {}}};
}

Task<TxnReply> ClusterStore::Impl::put_as_leader(std::string_view name, std::string value, TimePoint deadline) {
  Txn txn;
  txn.compares = as_leader();
  txn.success.emplace_back(Put{key(name), std::move(value), LeaseId()});
  co_return co_await commit(std::move(txn), deadline);
}

Task<Result<LeaseProof>> ClusterStore::Impl::renew_or_grant(TimePoint deadline) {
  const auto ttl = whole_seconds(settings().ttl);
  if (proof && proof->ttl == Duration(ttl)) {
    const LeaseId lease = proof->lease;
    const TimePoint sent_at = clock.now();
    auto left = co_await kv.lease_keepalive(lease, deadline);
    if (!left) {
      if (left.error().code == Errc::LeaseLost) {
        answered();
        proof.reset();
      }
      co_return tl::make_unexpected(left.error());
    }
    answered();
    if (proof && proof->lease == lease) proof = LeaseProof{lease, sent_at, ttl};
    co_return LeaseProof{lease, sent_at, std::min<Duration>(*left, ttl)};
  }
  const TimePoint sent_at = clock.now();
  auto granted = co_await kv.lease_grant(ttl, deadline);
  if (!granted) co_return tl::make_unexpected(granted.error());
  answered();
  proof = LeaseProof{*granted, sent_at, ttl};
  co_return *proof;
}

ClusterStore::ClusterStore(Clock& clock, KvStore& kv, Log log, ClusterStoreOptions options)
    : impl_(std::make_unique<Impl>(clock, kv, log, std::move(options))) {}

ClusterStore::~ClusterStore() = default;

void ClusterStore::start() { impl_->tasks.spawn(impl_->follow()); }

void ClusterStore::stop() {
  impl_->stopped = true;
  impl_->changed.notify();
}

void ClusterStore::on_change(ChangeHandler handler) { impl_->handler = std::move(handler); }
std::shared_ptr<const ClusterView> ClusterStore::view() const { return impl_->cache.view(); }
bool ClusterStore::following() const { return impl_->following; }
std::optional<TimePoint> ClusterStore::last_answer() const { return impl_->last_answer; }
std::optional<WallTime> ClusterStore::last_answer_wall() const { return impl_->last_answer_wall; }
std::optional<LeaseProof> ClusterStore::lease() const { return impl_->proof; }

Task<Result<std::shared_ptr<const ClusterView>>> ClusterStore::refresh(TimePoint deadline) {
  auto done = co_await impl_->read(deadline);
  if (!done) co_return tl::make_unexpected(done.error());
  co_return impl_->cache.view();
}

Task<Result<LeaseProof>> ClusterStore::ensure_lease(TimePoint deadline) {
  // One at a time: two grants side by side would leave the keys on a lease that nobody renews.
  while (impl_->lease_busy) {
    if (!co_await impl_->lease_free.wait_until(deadline)) {
      co_return fail(Errc::Timeout, "cannot renew the lease", {}, "an earlier renewal is still under way");
    }
  }
  impl_->lease_busy = true;
  auto result = co_await impl_->renew_or_grant(deadline);
  impl_->lease_busy = false;
  impl_->lease_free.notify();
  co_return result;
}

Task<TxnReply> ClusterStore::acquire_leader(TimePoint deadline) {
  const std::string leader = impl_->key(kLeaderKey);
  const std::string me = impl_->options.self.text();
  Txn txn;
  txn.compares.push_back(absent(leader));
  if (const auto view = impl_->cache.view()) {
    txn.compares.push_back(unchanged_since(impl_->key(kStatusKey), view->status_revision));
    txn.compares.push_back(unchanged_since(impl_->key(kHistoryKey), view->history_revision));
    txn.compares.push_back(unchanged_since(impl_->key(kSyncKey), view->sync.mod_revision));
    txn.compares.push_back(unchanged_since(impl_->key(kTimelineKey), view->reserved_revision));
  }
  txn.success.emplace_back(Put{leader, me, impl_->my_lease()});
  txn.or_compares.push_back(value_is(leader, me));
  txn.or_compares.push_back(Compare{leader, Compare::Target::Lease, impl_->my_lease().value(), {}});
  if (!impl_->my_lease().known()) {
    TxnReply none;
    none.outcome = WriteOutcome::Refused;
    none.error = Error{Errc::LeaseLost, "cannot take the leader key", {}, "this member has no lease", {}};
    co_return none;
  }
  co_return co_await impl_->commit(std::move(txn), deadline);
}

Task<TxnReply> ClusterStore::reattach_leader(TimePoint deadline) {
  const auto view = impl_->cache.view();
  TxnReply refused;
  refused.outcome = WriteOutcome::Refused;
  if (!view || !view->led_by(impl_->options.self) || !impl_->my_lease().known()) co_return refused;
  const std::string leader = impl_->key(kLeaderKey);
  Txn txn;
  txn.compares.push_back(value_is(leader, impl_->options.self.text()));
  txn.compares.push_back(unchanged_since(leader, view->leader->mod_revision));
  txn.success.emplace_back(Put{leader, impl_->options.self.text(), impl_->my_lease()});
  co_return co_await impl_->commit(std::move(txn), deadline);
}

Task<TxnReply> ClusterStore::release_leader(std::optional<ClusterStatus> status, std::optional<FailoverRequest> request,
                                            TimePoint deadline) {
  const auto view = impl_->cache.view();
  TxnReply refused;
  refused.outcome = WriteOutcome::Refused;
  if (!view || !view->led_by(impl_->options.self)) co_return refused;
  const std::string leader = impl_->key(kLeaderKey);
  Txn txn;
  txn.compares.push_back(value_is(leader, impl_->options.self.text()));
  txn.compares.push_back(unchanged_since(leader, view->leader->mod_revision));
  if (status) txn.success.emplace_back(Put{impl_->key(kStatusKey), status_to_json(*status), LeaseId()});
  if (request) txn.success.emplace_back(Put{impl_->key(kFailoverKey), failover_to_json(*request), LeaseId()});
  txn.success.emplace_back(Delete{leader, {}});
  // Our lease goes on with the member key, and must not keep a request of a reign that is over.
  txn.success.emplace_back(Delete{impl_->key(kDrainKey), {}});
  co_return co_await impl_->commit(std::move(txn), deadline);
}

Task<TxnReply> ClusterStore::claim_initialize(TimePoint deadline) {
  const std::string initialize = impl_->key(kInitializeKey);
  Txn txn;
  const std::string owner = impl_->key(kBootstrapOwnerKey);
  const std::string alive = impl_->key(kBootstrapKey);
  const std::string& me = impl_->options.self.text();
  txn.compares.push_back(absent(initialize));
  txn.success.emplace_back(Put{initialize, {}, LeaseId()});
  txn.success.emplace_back(Put{owner, me, LeaseId()});
  txn.success.emplace_back(Put{alive, me, impl_->my_lease()});
  const auto view = impl_->cache.view();
  if (view && !view->bootstrap_owner.empty()) {
    txn.or_compares.push_back(value_is(initialize, {}));
    txn.or_compares.push_back(value_is(owner, view->bootstrap_owner.text()));
    if (view->bootstrap_owner != impl_->options.self) txn.or_compares.push_back(absent(alive));
    txn.or_success.emplace_back(Put{owner, me, LeaseId()});
    txn.or_success.emplace_back(Put{alive, me, impl_->my_lease()});
  }
  co_return co_await impl_->commit(std::move(txn), deadline);
}

Task<TxnReply> ClusterStore::found(const SystemId& id, Revision claim, TimePoint deadline) {
  return impl_->write_initialize(
      {value_is(impl_->key(kInitializeKey), {}), unchanged_since(impl_->key(kBootstrapOwnerKey), claim)}, id, deadline);
}

Task<TxnReply> ClusterStore::write_initialize(const SystemId& id, TimePoint deadline) {
  const auto view = impl_->cache.view();
  const Revision seen = view ? view->initialize_revision : Revision();
  return impl_->write_initialize({unchanged_since(impl_->key(kInitializeKey), seen)}, id, deadline);
}

Task<TxnReply> ClusterStore::delete_initialize(Revision claim, TimePoint deadline) {
  Txn txn;
  txn.compares.push_back(value_is(impl_->key(kInitializeKey), {}));
  txn.compares.push_back(unchanged_since(impl_->key(kBootstrapOwnerKey), claim));
  txn.success.emplace_back(Delete{impl_->key(kInitializeKey), {}});
  txn.success.emplace_back(Delete{impl_->key(kBootstrapKey), {}});
  txn.success.emplace_back(Delete{impl_->key(kBootstrapOwnerKey), {}});
  co_return co_await impl_->commit(std::move(txn), deadline);
}

Task<TxnReply> ClusterStore::write_member(std::string json, TimePoint deadline) {
  std::string name = std::string(kMembersFolder) + impl_->options.self.text();
  return impl_->put_if(std::move(name), std::move(json), impl_->my_lease(), std::nullopt, deadline);
}

Task<TxnReply> ClusterStore::write_status(ClusterStatus status, TimePoint deadline) {
  return impl_->put_as_leader(kStatusKey, status_to_json(status), deadline);
}

Task<TxnReply> ClusterStore::write_history(std::string json, TimePoint deadline) {
  return impl_->put_as_leader(kHistoryKey, std::move(json), deadline);
}

Task<TxnReply> ClusterStore::write_config(std::string json, std::optional<Revision> expected, TimePoint deadline) {
  std::optional<Compare> compare;
  if (expected) compare = unchanged_since(impl_->key(kConfigKey), *expected);
  return impl_->put_if(std::string(kConfigKey), std::move(json), LeaseId(), std::move(compare), deadline);
}

Task<TxnReply> ClusterStore::write_failover(std::string json, std::optional<Revision> expected, TimePoint deadline) {
  std::optional<Compare> compare;
  if (expected) compare = unchanged_since(impl_->key(kFailoverKey), *expected);
  return impl_->put_if(std::string(kFailoverKey), std::move(json), LeaseId(), std::move(compare), deadline);
}

Task<TxnReply> ClusterStore::write_sync(std::string json, Revision expected, TimePoint deadline) {
  Txn txn;
  txn.compares = impl_->as_leader();
  txn.compares.push_back(unchanged_since(impl_->key(kSyncKey), expected));
  txn.success.emplace_back(Put{impl_->key(kSyncKey), std::move(json), LeaseId()});
  co_return co_await impl_->commit(std::move(txn), deadline);
}

Task<TxnReply> ClusterStore::delete_sync(Revision expected, TimePoint deadline) {
  Txn txn;
  txn.compares = impl_->as_leader();
  txn.compares.push_back(unchanged_since(impl_->key(kSyncKey), expected));
  txn.success.emplace_back(Delete{impl_->key(kSyncKey), {}});
  co_return co_await impl_->commit(std::move(txn), deadline);
}

Task<TxnReply> ClusterStore::reserve_timeline(Timeline timeline, TimePoint deadline) {
  return impl_->put_as_leader(kTimelineKey, std::to_string(timeline.value()), deadline);
}

Task<TxnReply> ClusterStore::write_config_history(std::string json, TimePoint deadline) {
  return impl_->put_as_leader(kConfigHistoryKey, std::move(json), deadline);
}

Task<TxnReply> ClusterStore::write_crash(CrashNote note, TimePoint deadline) {
  return impl_->put_as_leader(kCrashKey, crash_to_json(note), deadline);
}

Task<TxnReply> ClusterStore::write_drain(DrainRequest request, TimePoint deadline) {
  Txn txn;
  txn.compares = impl_->as_leader();
  // One that comes late must not count in a later reign of ours.
  txn.compares.push_back(Compare{impl_->key(kLeaderKey), Compare::Target::CreateRevision, request.term.value(), {}});
  txn.success.emplace_back(Put{impl_->key(kDrainKey), drain_to_json(request), impl_->my_lease()});
  co_return co_await impl_->commit(std::move(txn), deadline);
}

Task<TxnReply> ClusterStore::delete_drain(TimePoint deadline) {
  const auto view = impl_->cache.view();
  TxnReply none;
  none.outcome = WriteOutcome::Refused;
  if (!view || !view->drain) co_return none;
  Txn txn;
  txn.compares = impl_->as_leader();
  txn.compares.push_back(unchanged_since(impl_->key(kDrainKey), view->drain->mod_revision));
  txn.success.emplace_back(Delete{impl_->key(kDrainKey), {}});
  txn.success.emplace_back(Delete{impl_->key(kDrainNoteKey), {}});
  co_return co_await impl_->commit(std::move(txn), deadline);
}

Task<TxnReply> ClusterStore::write_drain_note(DrainNote note, TimePoint deadline) {
  return impl_->put_as_leader(kDrainNoteKey, drain_note_to_json(note), deadline);
}

Task<TxnReply> ClusterStore::write_failsafe(std::string json, TimePoint deadline) {
  return impl_->put_as_leader(kFailsafeKey, std::move(json), deadline);
}

}  // namespace pgvigil::dcs
