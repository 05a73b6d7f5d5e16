#include "ctl/context.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <optional>

namespace pgvigil::ctl {
namespace {

constexpr Duration kEtcdMax = std::chrono::seconds(10);

LogSettings quiet() {
  LogSettings settings;
  settings.level = LogLevel::Error;
  return settings;
}

}  // namespace

Context::Context(config::AgentConfig config, const KvFactory& make_kv)
    : config_(std::move(config)), clock_(make_system_clock(loop_.get_executor())), sink_(make_log_sink(quiet())) {
  const Log log(*sink_, "ctl");
  auto kv = make_kv(*clock_, log, config_.etcd);
  if (!kv) throw CommandError{kv.error().message()};
  kv_ = std::move(*kv);
  dcs::ClusterStoreOptions options;
  options.name_space = config_.name_space;
  options.scope = config_.scope;
  options.self = MemberName("pgvigil-ctl");
  options.parse_settings = [](const std::string&) -> Result<ClusterSettings> { return ClusterSettings(); };
  store_ = std::make_unique<dcs::ClusterStore>(*clock_, *kv_, log, std::move(options));
  const auto ready = http_.configure(config_.ctl, config_.restapi);
  if (!ready) throw CommandError{ready.error().message()};
}

Context::~Context() = default;

template <class T>
T Context::run(Task<T> task) {
  std::optional<T> result;
  const auto wait = [&]() -> Task<void> { result = co_await std::move(task); };
  asio::co_spawn(loop_, wait, asio::detached);
  loop_.restart();
  while (!result && loop_.run_one() > 0) {
  }
  if (!result) throw CommandError{"the event loop ended without an answer"};
  return std::move(*result);
}

std::shared_ptr<const ClusterView> Context::view() {
  auto answer = run(store_->refresh(clock_->now() + kEtcdMax));
  if (!answer) throw CommandError{answer.error().message()};
  return *answer;
}

HttpReply Context::call(const Member& member, const std::string& method, const std::string& path,
                        const std::string& body, Duration timeout) {
  auto reply = http_.request(member.api_url, method, path, body, timeout);
  if (!reply) throw CommandError{reply.error().message()};
  return *reply;
}

HttpReply Context::call_any(const ClusterView& view, const std::string& method, const std::string& path,
                            const std::string& body) {
  std::vector<const Member*> order;
  if (const auto* leader = view.leader_member()) order.push_back(leader);
  for (const auto& member : view.members) {
    if (!view.led_by(member.name) && !member.api_url.empty()) order.push_back(&member);
  }
  std::string last = "the cluster has no member with a REST API";
  for (const auto* member : order) {
    try {
      return call(*member, method, path, body);
    } catch (const CommandError& error) {
      last = error.text;
    }
  }
  throw CommandError{last};
}

void Context::check(const dcs::TxnReply& reply, const std::string& what) {
  if (reply.outcome == dcs::WriteOutcome::Applied) return;
  if (reply.outcome == dcs::WriteOutcome::Refused)
    throw CommandError{what + ": it was changed by somebody else meanwhile"};
  throw CommandError{what + ": " + (reply.error ? reply.error->message() : "no answer")};
}

void Context::write_config(const std::string& json, Revision expected) {
  check(run(store_->write_config(json, expected, clock_->now() + kEtcdMax)), "the configuration was not written");
}

void Context::write_failover(const std::string& json) {
  check(run(store_->write_failover(json, std::nullopt, clock_->now() + kEtcdMax)), "the request was not written");
}

void Context::remove_cluster() {
  const std::string prefix = dcs::cluster_prefix(config_.name_space, config_.scope);
  dcs::Txn txn;
  txn.success.emplace_back(dcs::Delete{prefix, dcs::prefix_end(prefix)});
  check(run(kv_->txn(std::move(txn), clock_->now() + kEtcdMax)), "the cluster's keys were not removed");
}

}  // namespace pgvigil::ctl
