#include "api/router.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "api/health.h"

namespace pgvigil::api {
namespace {

// How old an observation may be for health checks and metrics, which are asked many times a second.
constexpr Duration kHealthAge = std::chrono::seconds(1);
// Health checks must answer before load balancers give up; with PostgreSQL stuck they answer from the last observation.
constexpr Duration kHealthPatience = std::chrono::seconds(1);
// Peers wait 2 s for GET /patroni (kPeerPatience of the race); a late answer is no answer.
constexpr Duration kDocumentPatience = std::chrono::milliseconds(1500);

}  // namespace

Router::Router(agent::Commands& commands, TaskGroup& tasks, Resolver& resolver, Versions versions,
               const ServerCounters& counters, Log log)
    : commands_(commands),
      clock_(commands.clock()),
      instance_(commands, tasks),
      access_(commands.clock(), resolver, log),
      unsafe_(commands, tasks, log),
      versions_(std::move(versions)),
      counters_(counters) {}

Observed Router::remembered() const {
  Observed node;
  node.status = commands_.status();
  node.instance = node.status->instance;
  node.now = clock_.now();
  return node;
}

Task<Observed> Router::observe(Duration age_max) {
  const TimePoint now = clock_.now();
  const bool document = age_max == Duration(0);
  Observed node;
  node.instance = co_await instance_.get(now - age_max, now + (document ? kDocumentPatience : kHealthPatience));
  node.status = commands_.status();
  node.now = clock_.now();
  co_return node;
}

Task<Reply> Router::answer(Request request) {
  const bool brief = request.method == "HEAD" || request.method == "OPTIONS";
  if (brief || request.method == "GET") {
    if (!brief) co_return co_await get(std::move(request));
    // HEAD and OPTIONS are health checks on every path, also on those of documents.
    Observed node = remembered();
    if (needs_observation(request.target, *node.status)) node = co_await observe(kHealthAge);
    co_return status_only(health_status(request.target, node));
  }
  if (!UnsafeRequests::knows(request)) co_return error_page(501);
  co_return co_await unsafe(std::move(request));
}

Reply Router::etcd_document(const std::string& segment) const {
  const auto status = commands_.status();
  if (!status->view) return error_page(segment == "failsafe" || segment == "config" ? 502 : 503);
  const ClusterView& view = *status->view;
  if (segment == "cluster") return json_reply(200, cluster_document(view, status->scope));
  if (segment == "history") return json_reply(200, history_document(view).value_or(Json::array()));
  const auto document = segment == "config" ? config_document(view) : failsafe_document(view);
  return document ? json_reply(200, *document) : error_page(502);
}

Task<Reply> Router::get(Request request) {
  const std::string segment = request.target.segment;
  if (segment == "cluster" || segment == "history" || segment == "config" || segment == "failsafe") {
    co_return etcd_document(segment);
  }
  if (segment == "liveness") co_return status_only(liveness_status(remembered()));
  const Observed node = co_await observe(segment == "patroni" ? Duration(0) : kHealthAge);
  if (segment == "patroni") co_return json_reply(200, status_document(node, versions_));
  if (segment == "readiness") co_return status_only(readiness_status(request.target, node));
  if (segment == "metrics") {
    Reply reply;
    reply.content_type = "text/plain";
    reply.body = metrics_text(node, versions_, counters_);
    co_return reply;
  }
  co_return json_reply(health_status(request.target, node), status_document(node, versions_));
}

Task<Reply> Router::unsafe(Request request) {
  const bool members_count = !(request.method == "POST" && request.target.segment == "failsafe");
  const auto status = commands_.status();
  auto refusal = co_await access_.refuse(request, status->view.get(), members_count);
  if (refusal) co_return std::move(*refusal);
  co_return co_await unsafe_.carry_out(std::move(request));
}

}  // namespace pgvigil::api
