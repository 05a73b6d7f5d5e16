// What every verb works with: the configuration, the cluster as etcd has it, and REST calls to members.
#pragma once

#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>
#include <vector>

#include "config/agent_config.h"
#include "ctl/http_client.h"
#include "ctl/run.h"
#include "dcs/cluster_store.h"

namespace pgvigil::ctl {

// A failure that ends the command: printed as "Error: text", exit status 1.
struct CommandError {
  std::string text;
};

class Context {
 public:
  Context(config::AgentConfig config, const KvFactory& make_kv);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // All of these throw CommandError.
  std::shared_ptr<const ClusterView> view();  // read anew, linearizably
  HttpReply call(const Member& member, const std::string& method, const std::string& path, const std::string& body = {},
                 Duration timeout = std::chrono::seconds(60));
  // From the leader first, then from any member with an API; throws when none answers.
  HttpReply call_any(const ClusterView& view, const std::string& method, const std::string& path,
                     const std::string& body);
  void write_config(const std::string& json, Revision expected);
  void write_failover(const std::string& json);
  void remove_cluster();

  [[nodiscard]] const config::AgentConfig& config() const { return config_; }

 private:
  template <class T>
  T run(Task<T> task);
  void check(const dcs::TxnReply& reply, const std::string& what);

  config::AgentConfig config_;
  asio::io_context loop_;
  std::unique_ptr<Clock> clock_;
  std::unique_ptr<LogSink> sink_;
  std::unique_ptr<dcs::KvStore> kv_;
  std::unique_ptr<dcs::ClusterStore> store_;
  HttpClient http_;
};

}  // namespace pgvigil::ctl
