#include "app/config_node.h"

#include <unistd.h>

#include <fstream>
#include <iterator>

#include "config/dynamic.h"
#include "config/scalars.h"
#include "postgres/conf_files.h"

namespace pgvigil::app {
namespace {

// The address that others reach: the configured one, else the first that is listened on.
std::string reachable(const config::HostPort& connect, const std::string& listen, std::uint16_t port) {
  const std::string host = !connect.host.empty() ? connect.host : listen;
  return config::to_string(config::HostPort{host, connect.port != 0 ? connect.port : port});
}

}  // namespace

ConfigNode::ConfigNode(Log log, config::AgentConfig local, config::Environment environment, std::string version)
    : log_(log.in_room("config")),
      local_(std::move(local)),
      environment_(std::move(environment)),
      version_(std::move(version)) {
  std::ifstream file(cache_file(), std::ios::binary);
  if (file) dynamic_.assign(std::istreambuf_iterator<char>(file), {});
  effective_ = config::make_effective(local_, dynamic_);
}

std::string ConfigNode::cache_file() const { return local_.postgresql.data_dir + "/patroni.dynamic.json"; }

Result<ClusterSettings> ConfigNode::parse_settings(const std::string& json) const {
  return config::parse_cluster_settings(json, local_);
}

ClusterSettings ConfigNode::cached_settings() const {
  auto settings = parse_settings(dynamic_.empty() ? "{}" : dynamic_);
  return settings ? *settings : ClusterSettings();
}

std::string ConfigNode::conn_url() const {
  const auto& pg = effective_.postgresql;
  const std::string listen = pg.listen_addresses.empty() ? "localhost" : pg.listen_addresses.front();
  return fmt::format("postgres://{}/{}", reachable(pg.connect_address, listen, pg.port), pg.database);
}

std::string ConfigNode::api_url() const {
  const auto& api = local_.restapi;
  return fmt::format("{}://{}/patroni", api.certfile.empty() ? "http" : "https",
                     reachable(api.connect_address, api.listen.host, api.listen.port));
}

std::string ConfigNode::proxy_url() const {
  const auto& proxy = effective_.postgresql.proxy_address;
  if (!proxy) return {};
  return fmt::format("postgres://{}/{}", reachable(*proxy, {}, proxy->port), effective_.postgresql.database);
}

std::string ConfigNode::bootstrap_config() const { return local_.bootstrap.dcs.empty() ? "{}" : local_.bootstrap.dcs; }

bool ConfigNode::clones_without_leader() const {
  const auto& pg = effective_.postgresql;
  for (const auto& name : pg.create_replica_methods) {
    const auto section = pg.methods.find(name);
    if (section == pg.methods.end()) continue;
    const auto flag = section->second.find("no_leader");
    if (flag != section->second.end() && flag->second != "false" && flag->second != "False" && flag->second != "0")
      return true;
  }
  return false;
}

std::optional<StandbyCluster> ConfigNode::bootstrap_standby_cluster() const {
  const auto settings = parse_settings(bootstrap_config());
  return settings ? settings->standby_cluster : std::nullopt;
}

void ConfigNode::refresh() {
  effective_ = config::make_effective(local_, dynamic_);
  for (const auto& warning : effective_.warnings) log_.warning("{}", warning);
  if (on_effective_) on_effective_(effective_);
}

void ConfigNode::save_dynamic() const {
  if (access((local_.postgresql.data_dir + "/PG_VERSION").c_str(), F_OK) != 0) return;
  if (const auto saved = postgres::replace_file(cache_file(), dynamic_, 0600); !saved) {
    log_.warning("{}", saved.error().message());
  }
}

Result<bool> ConfigNode::adopt_config(const std::string& json) {
  PGV_TRY_VOID(parse_settings(json));
  const auto before = effective_.postgresql;
  const bool same_text = json == dynamic_;
  dynamic_ = json;
  if (!same_text) refresh();
  save_dynamic();
  return !(before == effective_.postgresql);
}

Result<void> ConfigNode::reload_local() {
  PGV_TRY(loaded, config::load_agent_config(local_.source, environment_));
  if (loaded.config.postgresql.data_dir != local_.postgresql.data_dir || loaded.config.name != local_.name ||
      loaded.config.scope != local_.scope) {
    return fail(Errc::InvalidConfig, "cannot take the configuration over", local_.source,
                "name, scope and postgresql.data_dir may not change while the agent runs", "restart the agent");
  }
  for (const auto& warning : loaded.warnings) log_.warning("{}", warning);
  local_ = std::move(loaded.config);
  refresh();
  if (on_local_) on_local_(local_);
  return {};
}

std::map<std::string, bool> ConfigNode::permanent_physical_slots() const {
  std::map<std::string, bool> slots;
  const bool standby_cluster = effective_.settings.standby_cluster.has_value();
  for (const auto& [name, slot] : effective_.permanent_slots) {
    if (slot.logical) continue;
    slots[name] = slot.cluster_type.empty() || (slot.cluster_type == "standby") == standby_cluster;
  }
  return slots;
}

}  // namespace pgvigil::app
