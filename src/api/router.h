// From a request to its reply: what the REST API does, without any transport.
#pragma once

#include "agent/commands.h"
#include "api/access.h"
#include "api/documents.h"
#include "api/fresh_instance.h"
#include "api/http.h"
#include "api/metrics.h"
#include "api/resolver.h"
#include "api/unsafe.h"
#include "base/log.h"
#include "base/task_group.h"
#include "config/agent_config.h"

namespace pgvigil::api {

class Router {
 public:
  // Everything given outlives the router; the task group has ended before the router does.
  Router(agent::Commands& commands, TaskGroup& tasks, Resolver& resolver, Versions versions,
         const ServerCounters& counters, Log log);

  void configure(const config::RestApiConfig& config) { access_.configure(config); }
  Task<Reply> answer(Request request);

 private:
  Task<Reply> get(Request request);
  Task<Reply> unsafe(Request request);
  Task<Observed> observe(Duration age_max);
  [[nodiscard]] Observed remembered() const;  // at once, without asking PostgreSQL
  [[nodiscard]] Reply etcd_document(const std::string& segment) const;

  agent::Commands& commands_;
  Clock& clock_;
  FreshInstance instance_;
  AccessCheck access_;
  UnsafeRequests unsafe_;
  Versions versions_;
  const ServerCounters& counters_;
};

}  // namespace pgvigil::api
