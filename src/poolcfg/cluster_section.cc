// [cluster], and what the role of a database needs of it.
#include "poolcfg/cluster_section.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "poolcfg/pair_values.h"
#include "poolcfg/sections.h"

namespace pgvigil::poolcfg {
namespace {

using Cluster = ClusterSection;

constexpr std::pair<std::string_view, ServerRole> kRoles[] = {
    {"primary", ServerRole::Primary}, {"replica", ServerRole::Replica}, {"any", ServerRole::Any}};
constexpr std::pair<std::string_view, ReplicaFallback> kFallbacks[] = {{"leader", ReplicaFallback::Leader},
                                                                       {"refuse", ReplicaFallback::Refuse}};

// A part of a key's path in etcd.
Parsed<std::string> path_part(std::string_view value) {
  if (value.empty()) return misfit("is empty", "write the name that the agents have");
  if (value.find('/') != std::string_view::npos) return misfit("has a /", "write the name that the agents have");
  return std::string(value);
}

Parsed<std::string> take_scope(Cluster& cluster, std::string_view value) {
  auto part = path_part(value);
  if (!part) return tl::unexpected<Misfit>(part.error());
  cluster.scope = std::move(*part);
  return std::string(kNoNotice);
}

// Patroni's may have slashes inside and around it.
Parsed<std::string> take_name_space(Cluster& cluster, std::string_view value) {
  const auto begin = value.find_first_not_of('/');
  if (begin == std::string_view::npos) return misfit("is empty", "write the namespace that the agents have");
  cluster.name_space = value.substr(begin, value.find_last_not_of('/') - begin + 1);
  return std::string(kNoNotice);
}

Parsed<std::string> take_name(Cluster& cluster, std::string_view value) {
  auto part = path_part(value);
  if (!part) return tl::unexpected<Misfit>(part.error());
  cluster.name = std::move(*part);
  return std::string(kNoNotice);
}

Parsed<std::string> take_etcd_hosts(Cluster& cluster, std::string_view value) {
  constexpr const char* kValid = "write host:port, separated by commas: 10.0.0.1:2379, 10.0.0.2:2379";
  auto hosts = parse_list(value);
  if (hosts.empty()) return misfit("names no member of etcd", kValid);
  for (const auto& host : hosts) {
    const auto colon = host.rfind(':');
    const bool bracketed = host.front() == '[' && colon != std::string::npos && host[colon - 1] == ']';
    const bool plain = colon != std::string::npos && host.find(':') == colon;
    if (colon == 0 || !(bracketed || plain) || !parse_integer(std::string_view(host).substr(colon + 1), 10, 1, 65535)) {
      return misfit(fmt::format("has \"{}\", which is not host:port", shown(host)), kValid);
    }
  }
  cluster.etcd_hosts = std::move(hosts);
  return std::string(kNoNotice);
}

Parsed<std::string> take_etcd_protocol(Cluster& cluster, std::string_view value) {
  if (value != "http" && value != "https") return misfit("is not a known value", "valid: http, https");
  cluster.etcd_tls = value == "https";
  return std::string(kNoNotice);
}

Parsed<std::string> take_etcd_password(Cluster& cluster, std::string_view value) {
  cluster.etcd_password = Secret(std::string(value));
  return std::string(kNoNotice);
}

Parsed<std::string> take_max_lag(Cluster& cluster, std::string_view value) {
  const auto number = parse_integer(value, 10, 0, std::numeric_limits<std::int64_t>::max());
  if (!number) return tl::unexpected<Misfit>(number.error());
  cluster.max_replica_lag = *number;
  return std::string(kNoNotice);
}

template <auto member>
Parsed<std::string> take_seconds(Cluster& cluster, std::string_view value) {
  const auto time = parse_seconds(value);
  if (!time) return tl::unexpected<Misfit>(time.error());
  cluster.*member = *time;
  return std::string(kNoNotice);
}

Parsed<std::string> take_fallback(Cluster& cluster, std::string_view value) {
  const auto fallback = parse_name<ReplicaFallback>(value);
  if (!fallback) return tl::unexpected<Misfit>(fallback.error());
  cluster.replica_fallback = *fallback;
  return std::string(kNoNotice);
}

Parsed<std::string> take_local_socket(Cluster& cluster, std::string_view value) {
  if (value != "auto" && value != "off" && (value.empty() || (value[0] != '/' && value[0] != '@'))) {
    return misfit("is not a directory", "valid: auto, off, or the directory of PostgreSQL's Unix socket");
  }
  cluster.local_socket = value;
  return std::string(kNoNotice);
}

constexpr PairRow<Cluster> kRows[] = {
    {"scope", "text", "none: required", "Name of the cluster, as the agents have it.", take_scope},
    {"namespace", "text", "service", "Namespace of its keys in etcd, as the agents have it.", take_name_space},
    {"name", "text", "host name and port", "Name of this pooler among those of the cluster; each needs its own.",
     take_name},
    {"etcd_hosts", "list", "none: required", "Members of etcd, as host:port.", take_etcd_hosts},
    {"etcd_protocol", "http or https", "http", "Whether etcd is spoken to over TLS.", take_etcd_protocol},
    {"etcd_cacert", "path", "those of the system", "Authorities that etcd's certificates are checked against.",
     take_text<Cluster, &Cluster::etcd_cacert>},
    {"etcd_cert", "path", "none", "Certificate that etcd is shown.", take_text<Cluster, &Cluster::etcd_cert>},
    {"etcd_key", "path", "none", "Private key of that certificate.", take_text<Cluster, &Cluster::etcd_key>},
    {"etcd_username", "text", "none", "User of etcd.", take_text<Cluster, &Cluster::etcd_username>},
    {"etcd_password", "text", "none", "Password of that user.", take_etcd_password, true},
    {"rest_cacert", "path", "those of the system", "Authorities that the agents' REST APIs are checked against.",
     take_text<Cluster, &Cluster::rest_cacert>},
    {"read_port", "number", "none", "Second port, on which databases with a role are served as role=replica.",
     take_port<Cluster, &Cluster::read_port>},
    {"max_replica_lag", "bytes", "0", "How far behind the leader a replica may be and still serve; 0 is no limit.",
     take_max_lag},
    {"max_replica_lag_time", "seconds", "0",
     "How old the last transaction that it has replayed may be while it is behind; 0 is no limit.",
     take_seconds<&Cluster::max_replica_lag_time>},
    {"replica_fallback", "leader or refuse", "leader", "What reads get when no replica may serve.", take_fallback},
    {"causal_reads_timeout", "seconds", "1", "How long a causal read waits for a replica before it goes to the leader.",
     take_seconds<&Cluster::causal_reads_timeout>},
    {"local_socket", "auto, off or a directory", "auto",
     "Whether a member on this machine is reached by its Unix socket.", take_local_socket},
};

}  // namespace

template <>
std::span<const std::pair<std::string_view, ServerRole>> names_of() {
  return kRoles;
}
template <>
std::span<const std::pair<std::string_view, ReplicaFallback>> names_of() {
  return kFallbacks;
}

std::string_view to_string(ServerRole role) {
  for (const auto& [name, value] : kRoles) {
    if (value == role) return name;
  }
  return "?";
}

std::span<const PairRow<ClusterSection>> cluster_rows() { return kRows; }

Result<void> begin_cluster(Loading& loading, const Where& where) {
  if (loading.config.cluster) return {};
  loading.config.cluster.emplace();
  loading.cluster_at.emplace("", where);
  return {};
}

Result<void> take_cluster(Loading& loading, const IniEntry& entry) {
  const PairRow<Cluster>* row = nullptr;
  std::vector<std::string_view> keys;
  for (const auto& one : kRows) {
    keys.push_back(one.key);
    if (one.key == entry.key) row = &one;
  }
  if (row == nullptr) {
    return refused_key(entry.where, entry.key, {"is not a known key of [cluster]", did_you_mean(entry.key, keys)});
  }
  const auto taken = row->take(*loading.config.cluster, entry.value);
  if (!taken) {
    return row->secret ? refused_key(entry.where, entry.key, taken.error())
                       : refused(entry.where, entry.key, entry.value, taken.error());
  }
  loading.cluster_at.insert_or_assign(std::string(entry.key), entry.where);
  return {};
}

namespace {

Result<void> check_role(const Loading& loading, const DatabaseEntry& database, const std::string& name) {
  if (!database.role) return {};
  const Where& where = loading.databases_at.at(name);
  const std::string place = name + ": role";
  const auto refuse = [&](const char* why, const char* valid) {
    return refused(where, place, to_string(*database.role), {why, valid});
  };
  if (!loading.config.cluster) {
    return refuse("needs to know the cluster", "add the section [cluster], or name the server with host=");
  }
  if (!database.hosts.empty()) {
    return refuse("stands beside host=", "leave host and port out: they come from the cluster");
  }
  return {};
}

}  // namespace

Result<void> check_cluster(const Loading& loading) {
  for (const auto& [name, database] : loading.config.databases) PGV_TRY_VOID(check_role(loading, database, name));
  if (const auto& any = loading.config.any_database) PGV_TRY_VOID(check_role(loading, *any, "*"));
  if (!loading.config.cluster) return {};
  const Cluster& cluster = *loading.config.cluster;
  const Where& section = loading.cluster_at.at("");
  const auto missing = [&](std::string_view key, const char* valid) {
    return refused_key(section, "[cluster]", {fmt::format("has no {}", key), valid});
  };
  if (cluster.scope.empty()) return missing("scope", "add scope = the name that the agents have");
  if (cluster.etcd_hosts.empty()) return missing("etcd_hosts", "add etcd_hosts = host:port, ...");
  if (cluster.etcd_cert.empty() != cluster.etcd_key.empty()) {
    const bool has_key = cluster.etcd_cert.empty();
    return missing(has_key ? "etcd_cert" : "etcd_key", "certificate and key belong together: set both or none");
  }
  if (cluster.read_port != 0 && cluster.read_port == loading.config.settings.listen_port) {
    return refused(loading.cluster_at.at("read_port"), "read_port", std::to_string(cluster.read_port),
                   {"is listen_port already", "choose another port"});
  }
  return {};
}

}  // namespace pgvigil::poolcfg
