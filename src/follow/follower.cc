#include "follow/follower.h"

#include <algorithm>

#include "dcs/layout.h"
#include "dcs/member_json.h"

namespace pgvigil::follow {
namespace {

// Of the pooler's key: one that has died is waited for this long at most.
constexpr std::chrono::seconds kLeaseTtl{10};
constexpr Duration kRenewEvery = std::chrono::seconds(3);
constexpr Duration kEtcdDeadline = std::chrono::seconds(3);
constexpr Duration kRetry = std::chrono::seconds(1);

// A watch that is replaced at once is no reason to ask anybody else.
constexpr Duration kEtcdPatience = std::chrono::seconds(2);
constexpr Duration kRestEvery = std::chrono::milliseconds(500);
constexpr Duration kRestDeadline = std::chrono::seconds(1);

dcs::ClusterStoreOptions store_options(const poolcfg::ClusterSection& section) {
  dcs::ClusterStoreOptions options;
  options.name_space = section.name_space;
  options.scope = section.scope;
  return options;
}

// "http://host:8008/patroni" without its path.
std::string base_url(const std::string& url) {
  const auto scheme = url.find("://");
  return scheme == std::string::npos ? std::string() : url.substr(0, url.find('/', scheme + 3));
}

}  // namespace

Follower::Follower(Clock& clock, dcs::KvStore& kv, HttpGet get, Log log, FollowerOptions options,
                   std::function<void(pool::ClusterState)> publish)
    : clock_(clock),
      kv_(kv),
      get_(std::move(get)),
      log_(log),
      options_(std::move(options)),
      publish_(std::move(publish)),
      store_(clock, kv, log, store_options(options_.section)),
      sockets_(options_.section.local_socket, {options_.unix_socket_dir}),
      tasks_(clock),
      key_wake_(clock),
      end_(clock),
      self_(options_.self) {}

void Follower::start() {
  store_.on_change([this](const std::vector<std::string>& keys) {
    const bool only_poolers =
        std::all_of(keys.begin(), keys.end(), [](const std::string& key) { return key.starts_with("poolers/"); });
    if (!only_poolers || !last_) view_changed();
  });
  store_.start();
  tasks_.spawn(keep_key());
  tasks_.spawn(watch_rest());
  // Positions in etcd are as old as the agents' loop_wait: too old to judge a lag by.
  const auto& section = options_.section;
  if (section.max_replica_lag > 0 || section.max_replica_lag_time.count() > 0) tasks_.spawn(watch_lag());
}

Task<void> Follower::stop(TimePoint deadline) {
  stopped_ = true;
  store_.stop();
  key_wake_.notify();
  end_.notify();
  if (lease_.known()) (void)co_await kv_.lease_revoke(lease_, deadline);
  (void)co_await tasks_.join(deadline);
}

void Follower::publish(pool::ClusterState state) {
  for (auto& member : state.members) {
    member.socket_directory = sockets_.directory(member.host, member.port, system_id_);
  }
  last_ = state;
  publish_(std::move(state));
}

void Follower::view_changed() {
  const auto view = store_.view();
  if (!view) return;
  if (view->initialize) system_id_ = SystemId(*view->initialize);
  std::map<std::string, std::string> urls;
  for (const Member& member : view->members) {
    if (const std::string url = base_url(member.api_url); !url.empty()) urls[member.name.text()] = url;
  }
  // What a dying cluster leaves behind is still of use once etcd is gone, too.
  if (!urls.empty()) api_urls_ = std::move(urls);
  pool::ClusterState state = state_of(*view, samples_, clock_.wall());
  // A leader whose agent is being restarted has no member key for a moment: it is where it was.
  const bool moved_on = !last_ || last_->leader != state.leader || state.leader.empty();
  if (!moved_on && state.member(state.leader) == nullptr) {
    if (const auto* known = last_->member(state.leader)) state.members.push_back(*known);
  }
  publish(std::move(state));
}

// --- the pooler's key

void Follower::report(Term term, std::optional<PoolerDrain> drain) {
  self_.term = term;
  self_.drain = std::move(drain);
  key_due_ = true;
  key_wake_.notify();
}

Task<Result<void>> Follower::write_key() {
  const TimePoint deadline = clock_.now() + kEtcdDeadline;
  if (!lease_.known()) {
    auto granted = co_await kv_.lease_grant(kLeaseTtl, deadline);
    if (!granted) co_return tl::make_unexpected(std::move(granted.error()));
    lease_ = *granted;
  }
  const auto& section = options_.section;
  dcs::Txn txn;
  txn.success.emplace_back(
      dcs::Put{dcs::cluster_prefix(section.name_space, section.scope) + std::string(dcs::kPoolersFolder) + self_.name,
               dcs::pooler_to_json(self_), lease_});
  key_due_ = false;
  auto reply = co_await kv_.txn(std::move(txn), deadline);
  if (reply.outcome == dcs::WriteOutcome::Applied) co_return Result<void>();
  key_due_ = true;
  co_return tl::make_unexpected(
      reply.error.value_or(Error{Errc::Unavailable, "cannot write the pooler's key", self_.name, {}, {}}));
}

Task<void> Follower::keep_key() {
  bool silent = false;
  TimePoint renew_at = clock_.now() + kRenewEvery;
  while (!stopped_) {
    Result<void> done;
    if (key_due_ || !lease_.known()) {
      done = co_await write_key();
    } else if (clock_.now() >= renew_at) {
      const TimePoint deadline = clock_.now() + kEtcdDeadline;
      auto renewed = co_await kv_.lease_keepalive(lease_, deadline);
      if (!renewed) done = tl::make_unexpected(std::move(renewed.error()));
      renew_at = clock_.now() + kRenewEvery;
    }
    if (stopped_) co_return;
    if (!done) {
      if (done.error().code == Errc::LeaseLost) lease_ = LeaseId();
      key_due_ = true;
      if (!silent) log_.warning("cannot keep the pooler's key in etcd: {}", done.error().message());
      silent = true;
      const TimePoint again = clock_.now() + kRetry;
      (void)co_await key_wake_.wait_until(again);
      continue;
    }
    silent = false;
    if (!key_due_) (void)co_await key_wake_.wait_until(renew_at);
  }
}

// --- without etcd

Task<void> Follower::watch_rest() {
  std::optional<TimePoint> lost;
  while (!stopped_) {
    if (store_.following()) {
      if (lost && last_ && last_->source != pool::ClusterState::Source::Etcd) view_changed();
      lost.reset();
    } else if (!lost) {
      lost = clock_.now();
    } else if (clock_.now() - *lost >= kEtcdPatience && !api_urls_.empty()) {
      co_await ask_members();
    }
    if (!stopped_) (void)co_await end_.wait_until(clock_.now() + kRestEvery);
  }
}

Task<void> Follower::ask_members() {
  auto documents = std::make_shared<std::vector<std::string>>();
  TaskGroup asked(clock_);
  const TimePoint deadline = clock_.now() + kRestDeadline;
  for (const auto& [name, url] : api_urls_) {
    asked.spawn([](HttpGet get, std::string address, TimePoint until,
                   std::shared_ptr<std::vector<std::string>> answers) -> Task<void> {
      auto body = co_await get(std::move(address), until);
      if (body) answers->push_back(std::move(*body));
    }(get_, url + "/cluster", deadline, documents));
  }
  while (!co_await asked.join(deadline + kRestDeadline)) {
  }
  if (stopped_ || store_.following()) co_return;
  auto state = state_of_documents(*documents);
  const bool news = !last_ || last_->source == pool::ClusterState::Source::Etcd;
  if (!state) {
    if (last_ && last_->source != pool::ClusterState::Source::Nobody) {
      log_.warning("neither etcd nor an agent answers: the last known state of the cluster stands");
      last_->source = pool::ClusterState::Source::Nobody;
      publish_(*last_);
    }
    co_return;
  }
  if (news) log_.warning("etcd does not answer: following the cluster by its agents' REST APIs");
  if (last_) {
    state->drain = last_->drain;
    if (state->leader == last_->leader) state->term = last_->term;
  }
  publish(std::move(*state));
}

// --- lag

Task<void> Follower::watch_lag() {
  while (!stopped_) {
    for (const auto& [name, url] : api_urls_) {
      if (asking_[name]) continue;
      asking_[name] = true;
      tasks_.spawn(ask_lag(name, url + "/patroni"));
    }
    (void)co_await end_.wait_until(clock_.now() + kRestDeadline);
    if (!stopped_ && store_.following()) view_changed();
  }
}

Task<void> Follower::ask_lag(std::string name, std::string url) {
  const TimePoint deadline = clock_.now() + kRestDeadline;
  auto body = co_await get_(std::move(url), deadline);
  asking_[name] = false;
  auto sample = body ? parse_lag(*body) : std::nullopt;
  if (sample) {
    samples_[name] = *sample;
  } else {
    samples_.erase(name);
  }
}

}  // namespace pgvigil::follow
