// etcd v3 over gRPC behind the key-value port. Calls and their completions run on the clock's executor; gRPC's own
// threads only post to it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/secret.h"
#include "dcs/kv_store.h"

namespace pgvigil::dcs {

struct EtcdOptions {
  std::vector<std::string> endpoints;  // "host:port", "[::1]:2379"; at least one
  bool tls = false;
  std::string ca_file, cert_file, key_file;  // PEM; empty ca_file: the system's authorities
  std::string username;                      // empty: no authentication
  Secret password;
  bool discover_members = true;  // ask the cluster for its members' client URLs
};

// Error InvalidConfig: a certificate or key file cannot be read.
Result<std::unique_ptr<KvStore>> make_etcd_store(Clock& clock, Log log, EtcdOptions options);

}  // namespace pgvigil::dcs
