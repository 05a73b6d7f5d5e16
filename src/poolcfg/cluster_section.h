// [cluster]: which cluster the pooler follows, and how reads are routed in it. Without the section it follows none.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/secret.h"

namespace pgvigil::poolcfg {

using Micros = std::chrono::microseconds;

// Which member of the cluster a database is served by.
enum class ServerRole : std::uint8_t { Primary, Replica, Any };
enum class ReplicaFallback : std::uint8_t { Leader, Refuse };  // when no replica may serve

std::string_view to_string(ServerRole role);
struct ClusterSection {
  std::string scope, name_space = "service";
  std::string name;  // of this pooler, below poolers/; empty: made of host and port
  std::vector<std::string> etcd_hosts;
  bool etcd_tls = false;
  std::string etcd_cacert, etcd_cert, etcd_key, etcd_username;
  Secret etcd_password;
  std::string rest_cacert;           // for the members' REST APIs
  int read_port = 0;                 // 0: none
  std::int64_t max_replica_lag = 0;  // bytes; 0: no limit
  Micros max_replica_lag_time{0};    // 0: no limit
  ReplicaFallback replica_fallback = ReplicaFallback::Leader;
  Micros causal_reads_timeout = std::chrono::seconds(1);
  std::string local_socket = "auto";  // auto, off, or the directory
};

}  // namespace pgvigil::poolcfg
