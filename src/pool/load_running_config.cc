#include "pool/load_running_config.h"

#include <utility>

namespace pgvigil::pool {
namespace {

using poolcfg::AuthType;
using poolcfg::SslMode;

netio::TlsSettings tls_settings(const poolcfg::TlsFiles& files, netio::TlsSettings::Role role) {
  netio::TlsSettings tls;
  tls.role = role;
  tls.verify_peer = files.sslmode == SslMode::VerifyCa || files.sslmode == SslMode::VerifyFull;
  tls.verify_host = role == netio::TlsSettings::Role::Client && files.sslmode == SslMode::VerifyFull;
  tls.key_file = files.key_file;
  tls.cert_file = files.cert_file;
  tls.ca_file = files.ca_file;
  tls.protocols = files.protocols;
  tls.ciphers = files.ciphers;
  tls.ciphers13 = files.ciphers13;
  tls.ecdh_curve = files.ecdhcurve;
  tls.dh_params = files.dheparams;
  return tls;
}

Result<netio::TlsContextPtr> client_side(const poolcfg::TlsFiles& files) {
  if (files.sslmode == SslMode::Disable) return netio::TlsContextPtr();
  if (files.key_file.empty() || files.cert_file.empty()) {
    return fail(Errc::InvalidConfig, "TLS towards clients needs a certificate", "client_tls_sslmode",
                "client_tls_key_file or client_tls_cert_file is not set", "set both, or client_tls_sslmode = disable");
  }
  if (files.sslmode == SslMode::VerifyFull && files.ca_file.empty()) {
    return fail(Errc::InvalidConfig, "client_tls_sslmode=verify-full needs client_tls_ca_file", {}, {},
                "set client_tls_ca_file to the authority of the clients' certificates");
  }
  return netio::make_tls_context(tls_settings(files, netio::TlsSettings::Role::Server));
}

Result<netio::TlsContextPtr> server_side(const poolcfg::TlsFiles& files) {
  if (files.sslmode == SslMode::Disable) return netio::TlsContextPtr();
  return netio::make_tls_context(tls_settings(files, netio::TlsSettings::Role::Client));
}

// What two settings together demand.
Result<void> check(const poolcfg::Settings& settings) {
  if (settings.auth_type == AuthType::Cert &&
      (settings.client_tls.sslmode != SslMode::VerifyFull || settings.client_tls.ca_file.empty())) {
    return fail(Errc::InvalidConfig, "auth_type=cert needs client_tls_sslmode=verify-full and client_tls_ca_file", {},
                {}, "set both, or another auth_type");
  }
  if (settings.auth_type == AuthType::Hba && settings.auth_hba_file.empty()) {
    return fail(Errc::InvalidConfig, "auth_type=hba needs auth_hba_file", {}, {}, "set auth_hba_file");
  }
  return {};
}

Result<void> read_users(RunningConfig& config, const RunningConfig* running) {
  const std::string& path = config.settings().auth_file;
  if (path.empty()) return {};
  auto read = poolcfg::load_auth_file(path);
  if (!read) {
    if (running != nullptr) return tl::make_unexpected(std::move(read.error()));
    config.auth.broken = read.error().message();
    return {};
  }
  config.auth = std::move(*read);
  return {};
}

Result<void> read_rules(RunningConfig& config) {
  const poolcfg::Settings& settings = config.settings();
  if (settings.auth_type != AuthType::Hba) return {};
  PGV_TRY(hba, poolcfg::load_hba(settings.auth_hba_file));
  config.hba = std::move(hba);
  if (settings.auth_ident_file.empty()) return {};
  PGV_TRY(ident, poolcfg::load_ident(settings.auth_ident_file));
  config.ident = std::move(ident);
  return {};
}

// The follower has the section as it was at the start; the limits on replicas are the workers'.
Result<void> keep_cluster(poolcfg::PoolConfig& fresh, const poolcfg::PoolConfig& running) {
  if (fresh.cluster && !running.cluster) {
    return fail(Errc::InvalidConfig, "the section [cluster] is new", {}, "it is read at the start only",
                "restart the pooler; with -R its clients stay");
  }
  const auto limits = std::exchange(fresh.cluster, running.cluster);
  if (!limits) return {};
  fresh.cluster->max_replica_lag = limits->max_replica_lag;
  fresh.cluster->max_replica_lag_time = limits->max_replica_lag_time;
  fresh.cluster->replica_fallback = limits->replica_fallback;
  fresh.cluster->causal_reads_timeout = limits->causal_reads_timeout;
  return {};
}

}  // namespace

Result<void> renew_tls(RunningConfig& config) {
  PGV_TRY(client, client_side(config.settings().client_tls));
  PGV_TRY(server, server_side(config.settings().server_tls));
  config.client_tls = std::move(client);
  config.server_tls = std::move(server);
  return {};
}

Result<std::shared_ptr<RunningConfig>> load_running_config(const std::string& path, const RunningConfig* running) {
  PGV_TRY(file, poolcfg::load_config(path));
  auto config = std::make_shared<RunningConfig>();
  config->file = std::move(file);
  if (running != nullptr) {
    config->file.settings = poolcfg::reloaded(running->settings(), config->file);
    PGV_TRY_VOID(keep_cluster(config->file, running->file));
  }
  if (config->settings().conffile.empty()) config->file.settings.conffile = path;
  PGV_TRY_VOID(check(config->settings()));
  PGV_TRY_VOID(read_users(*config, running));
  PGV_TRY_VOID(read_rules(*config));
  PGV_TRY_VOID(renew_tls(*config));
  return config;
}

void log_warnings(const RunningConfig& config, PoolLog& log) {
  const auto warn = [&](const std::vector<std::string>& lines) {
    for (const auto& line : lines) log.put(Level::Warning, "{}", line);
  };
  warn(config.file.warnings);
  if (!config.auth.broken.empty()) log.put(Level::Warning, "broken auth file: {}", config.auth.broken);
  warn(config.hba.warnings);
  warn(config.ident.warnings);
}

PoolLog::Target log_target(const poolcfg::Settings& settings, bool quiet) {
  PoolLog::Target target;
  target.standard_error = !quiet;
  target.file = settings.logfile;
  if (settings.syslog != 0) {
    target.syslog_ident = settings.syslog_ident.empty() ? "pgbouncer" : settings.syslog_ident;
    target.syslog_facility = settings.syslog_facility;
  }
  target.verbosity = settings.verbose;
  return target;
}

}  // namespace pgvigil::pool
