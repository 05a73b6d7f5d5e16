#include "app/etcd_options.h"

#include "config/scalars.h"

namespace pgvigil::app {

Result<dcs::EtcdOptions> etcd_options(const config::EtcdConfig& config) {
  dcs::EtcdOptions options;
  for (const auto& host : config.hosts) {
    options.endpoints.push_back(config::to_string(host));
  }
  if (options.endpoints.empty()) {
    return fail(Errc::InvalidConfig, "no etcd endpoint is configured", "etcd3.hosts",
                config.srv.empty() ? "" : "etcd3.srv is not supported",
                "list the members: etcd3: {hosts: [10.0.0.1:2379, ...]}");
  }
  options.tls = config.protocol == "https";
  options.ca_file = config.cacert;
  options.cert_file = config.cert;
  options.key_file = config.key;
  options.username = config.username;
  options.password = config.password;
  options.discover_members = !config.use_proxies;
  return options;
}

}  // namespace pgvigil::app
