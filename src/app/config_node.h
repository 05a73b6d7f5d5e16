// The agent's node over the configuration: local file and environment, and the dynamic configuration as last adopted.
#pragma once

#include <functional>
#include <string>

#include "agent/node.h"
#include "base/log.h"
#include "config/load.h"

namespace pgvigil::app {

class ConfigNode final : public agent::Node {
 public:
  using EffectiveHandler = std::function<void(const config::Effective&)>;
  using LocalHandler = std::function<void(const config::AgentConfig&)>;

  ConfigNode(Log log, config::AgentConfig local, config::Environment environment, std::string version);

  // Run whenever PostgreSQL's part, or the local file, has changed.
  void on_effective(EffectiveHandler handler) { on_effective_ = std::move(handler); }
  void on_local(LocalHandler handler) { on_local_ = std::move(handler); }
  [[nodiscard]] const config::AgentConfig& local() const { return local_; }
  [[nodiscard]] const config::Effective& effective() const { return effective_; }
  [[nodiscard]] ClusterSettings cached_settings() const;
  [[nodiscard]] Result<ClusterSettings> parse_settings(const std::string& json) const;

  [[nodiscard]] MemberName name() const override { return local_.name; }
  [[nodiscard]] std::string scope() const override { return local_.scope; }
  [[nodiscard]] Tags tags() const override { return local_.tags; }
  [[nodiscard]] std::string raw_tags() const override { return local_.raw_tags; }
  [[nodiscard]] std::string conn_url() const override;
  [[nodiscard]] std::string api_url() const override;
  [[nodiscard]] std::string proxy_url() const override;
  [[nodiscard]] std::string version() const override { return version_; }
  [[nodiscard]] bool may_bootstrap() const override { return local_.bootstrap.present; }
  [[nodiscard]] std::string bootstrap_config() const override;
  [[nodiscard]] bool clones_without_leader() const override;
  [[nodiscard]] std::optional<StandbyCluster> bootstrap_standby_cluster() const override;
  [[nodiscard]] std::string cached_config() const override { return dynamic_; }
  Result<bool> adopt_config(const std::string& json) override;
  Result<void> reload_local() override;
  [[nodiscard]] std::map<std::string, bool> permanent_physical_slots() const override;

 private:
  void refresh();
  void save_dynamic() const;
  [[nodiscard]] std::string cache_file() const;

  Log log_;
  config::AgentConfig local_;
  config::Environment environment_;
  std::string version_;
  std::string dynamic_;
  config::Effective effective_;
  EffectiveHandler on_effective_;
  LocalHandler on_local_;
};

}  // namespace pgvigil::app
