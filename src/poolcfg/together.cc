// Settings that need each other. PgBouncer finds these when it starts or when the first client comes.
#include <fmt/format.h>

#include <algorithm>

#include "poolcfg/rows.h"
#include "poolcfg/sections.h"
#include "poolcfg/values.h"

namespace pgvigil::poolcfg {
namespace {

// Where the setting was written; for one that has its default, the file alone would say nothing.
Where place(const Loading& loading, std::string_view key) {
  const auto found = loading.settings_at.find(key);
  return found == loading.settings_at.end() ? Where{"default", 0} : found->second;
}

bool in_use(const Settings& settings, std::string_view key) {
  if (key.substr(0, 10) == "client_tls") return settings.client_tls.sslmode != SslMode::Disable;
  if (key.substr(0, 10) == "server_tls") return settings.server_tls.sslmode != SslMode::Disable;
  return true;
}

Result<void> check_values(Loading& loading) {
  Settings& settings = loading.config.settings;
  for (const Row& row : rows()) {
    if (row.check == nullptr || !loading.config.written.contains(row.key)) continue;
    const std::string value = value_text(row, settings);
    const auto problem = row.check(value);
    if (!problem) continue;
    const Where where = place(loading, row.key);
    if (in_use(settings, row.key)) return refused(where, row.key, value, *problem);
    loading.warn(where, fmt::format("{} = \"{}\" {}; {}; it is not in use as TLS is off", row.key, shown(value),
                                    problem->why, problem->valid));
  }
  return {};
}

Result<void> check_tls(Loading& loading) {
  const Settings& settings = loading.config.settings;
  const TlsFiles& client = settings.client_tls;
  const auto refuse = [&](std::string_view key, std::string_view value, const char* why, const char* valid) {
    return refused(place(loading, key), key, value, {why, valid});
  };
  const std::string_view mode = to_string(client.sslmode);
  if (client.sslmode != SslMode::Disable && (client.key_file.empty() || client.cert_file.empty())) {
    return refuse("client_tls_sslmode", mode, "needs a key and a certificate",
                  "set client_tls_key_file and client_tls_cert_file, or client_tls_sslmode = disable");
  }
  if (settings.auth_type == AuthType::Cert) {
    if (client.sslmode != SslMode::VerifyFull) {
      return refuse("auth_type", "cert", "needs client certificates", "set client_tls_sslmode = verify-full");
    }
    if (client.ca_file.empty()) {
      return refuse("auth_type", "cert", "needs the authority of the client certificates", "set client_tls_ca_file");
    }
  }
  if (settings.server_tls.key_file.empty() != settings.server_tls.cert_file.empty()) {
    const std::string_view one = settings.server_tls.key_file.empty() ? "server_tls_cert_file" : "server_tls_key_file";
    loading.warn(place(loading, one),
                 fmt::format("{} has no effect: a client certificate needs both server_tls_cert_file and "
                             "server_tls_key_file",
                             one));
  }
  return {};
}

void warn_of_effects(Loading& loading) {
  const PoolConfig& config = loading.config;
  const Settings& settings = config.settings;
  if (settings.auth_type == AuthType::Hba && settings.auth_hba_file.empty()) {
    loading.warn(place(loading, "auth_type"), "auth_type = hba without auth_hba_file lets nobody in");
  }
  if (settings.auth_type == AuthType::Any) {
    for (const auto& [name, database] : config.databases) {
      if (database.user.empty()) {
        loading.warn(loading.databases_at.at(name),
                     fmt::format("database {} has no user=, which auth_type = any needs: logins to it fail", name));
      }
    }
  }
  constexpr std::string_view kFacilities[] = {"auth",   "authpriv", "daemon", "user",   "local0", "local1",
                                              "local2", "local3",   "local4", "local5", "local6", "local7"};
  const auto& facility = settings.syslog_facility;
  if (std::find(std::begin(kFacilities), std::end(kFacilities), facility) == std::end(kFacilities)) {
    loading.warn(place(loading, "syslog_facility"),
                 fmt::format("syslog_facility = \"{}\" is not known and means daemon; valid: {}", shown(facility),
                             fmt::join(kFacilities, ", ")));
  }
}

}  // namespace

Result<void> check_together(Loading& loading) {
  PGV_TRY_VOID(check_values(loading));
  PGV_TRY_VOID(check_tls(loading));
  PGV_TRY_VOID(check_cluster(loading));
  warn_of_effects(loading);
  return {};
}

}  // namespace pgvigil::poolcfg
