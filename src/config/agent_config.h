// The agent's configuration as typed values: local YAML file (or directory) and PATRONI_* environment, over built-in
// defaults; and the effective configuration, in which the dynamic configuration from etcd has its part.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/time.h"
#include "model/ids.h"
#include "model/member.h"
#include "model/settings.h"

namespace pgvigil::config {

struct HostPort {
  std::string host;  // "*" or empty: all addresses; "::1" without brackets
  std::uint16_t port = 0;
  friend bool operator==(const HostPort&, const HostPort&) = default;
};

struct Credentials {  // postgresql.authentication.*
  std::string username;
  Secret password;
  // sslmode, sslcert, sslkey, sslrootcert, sslcrl, sslcrldir, gssencmode, channel_binding, sslnegotiation
  std::map<std::string, std::string> connection;
  Secret sslpassword;
  friend bool operator==(const Credentials&, const Credentials&) = default;
};

// An option for initdb, pg_basebackup, ...: "--name" or "--name=value".
using Option = std::pair<std::string, std::optional<std::string>>;

struct PostgresConfig {  // effective `postgresql` section
  std::vector<std::string> listen_addresses;
  std::uint16_t port = 5432;
  HostPort connect_address;
  std::optional<HostPort> proxy_address;
  std::string data_dir, config_dir, bin_dir;
  std::map<std::string, std::string> bin_name;
  std::string database = "postgres";
  Credentials superuser, replication, rewind;     // rewind.username empty: the superuser is used
  std::map<std::string, std::string> parameters;  // local over dynamic, controlled ones already resolved and bounded
  std::map<std::string, std::string> parameters_primary, parameters_replica, parameters_standby_leader;
  std::vector<std::string> pg_hba, pg_ident;  // empty: not managed
  std::map<std::string, std::string> recovery_conf;
  std::string custom_conf, config_base_name = "postgresql", pgpass;
  bool use_unix_socket = false, use_unix_socket_repl = false;
  bool use_slots = true, use_pg_rewind = false;
  bool remove_data_directory_on_rewind_failure = false, remove_data_directory_on_diverged_timelines = false;
  std::vector<std::string> create_replica_methods{"basebackup"};
  std::map<std::string, std::map<std::string, std::string>> methods;  // section of each method; values as text
  std::vector<Option> basebackup, rewind_options;
  std::map<std::string, std::string> callbacks;  // on_start, on_stop, on_restart, on_reload, on_role_change
  std::string pre_promote, before_stop, krbsrvname;
  Duration pg_ctl_timeout = std::chrono::seconds(60);
  friend bool operator==(const PostgresConfig&, const PostgresConfig&) = default;
};

struct BootstrapUser {
  std::string name;
  Secret password;
  std::vector<std::string> options;  // "createrole", "createdb", ...
};

struct BootstrapConfig {
  bool present = false;
  std::string dcs;  // JSON object text
  std::vector<Option> initdb;
  std::string method = "initdb";
  std::map<std::string, std::string> method_section;        // of a custom method
  std::map<std::string, std::string> method_recovery_conf;  // its recovery_conf
  std::string post_bootstrap;
  std::vector<std::string> pg_hba;
  std::vector<BootstrapUser> users;
};

struct RestApiConfig {
  HostPort listen{"127.0.0.1", 8008};
  HostPort connect_address;
  std::string username;
  Secret password;
  std::string certfile, keyfile, cafile, ciphers;
  Secret keyfile_password;
  std::string verify_client = "none";  // none, optional, required
  std::vector<std::string> allowlist;
  bool allowlist_include_members = false;
  std::map<std::string, std::string> http_extra_headers, https_extra_headers;
  std::uint32_t request_queue_size = 5;
  std::string server_tokens = "original";
};

struct CtlConfig {  // how we call the REST APIs of members
  bool insecure = false;
  std::string cacert, certfile, keyfile, username;
  Secret keyfile_password, password;
};

struct EtcdConfig {
  std::vector<HostPort> hosts;
  std::string protocol = "http";
  bool use_proxies = false;  // the hosts are fixed: no member discovery
  std::string srv, srv_suffix;
  std::string username, cacert, cert, key;
  Secret password;
};

struct WatchdogConfig {
  enum class Mode : std::uint8_t { Off, Automatic, Required } mode = Mode::Automatic;
  std::string driver = "default", device = "/dev/watchdog";
  std::chrono::seconds safety_margin{5};  // -1: ttl/2
};

struct AgentConfig {  // local only; read by load_agent_config
  MemberName name;
  std::string scope, name_space = "service";
  Tags tags;
  std::string raw_tags;  // JSON object text as it is published; empty when there is nothing to publish
  LogSettings log;
  EtcdConfig etcd;
  RestApiConfig restapi;
  CtlConfig ctl;
  WatchdogConfig watchdog;
  BootstrapConfig bootstrap;
  std::string local_postgresql;  // the local `postgresql` section as JSON text, for merging with the dynamic one
  PostgresConfig postgresql;     // effective with no dynamic configuration at all
  std::string source;            // file or directory it was read from
};

struct Effective {  // local configuration together with the dynamic one
  ClusterSettings settings;
  PostgresConfig postgresql;
  struct PermanentSlot {
    bool logical = false;
    std::string database, plugin, cluster_type;  // cluster_type: "", "primary" or "standby"
    friend bool operator==(const PermanentSlot&, const PermanentSlot&) = default;
  };
  std::map<std::string, PermanentSlot> permanent_slots;
  std::vector<std::map<std::string, std::string>> ignore_slots;
  std::vector<std::string> warnings;  // one line each: what was ignored or bounded, and why
};

}  // namespace pgvigil::config
