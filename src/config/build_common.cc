#include <fmt/format.h>

#include <algorithm>

#include "config/build.h"
#include "config/reader.h"
#include "config/scalars.h"

namespace pgvigil::config {

namespace {

using Severity = Problem::Severity;
constexpr std::uint16_t kEtcdPort = 2379;

void add_url(const std::string& text, EtcdConfig& etcd) {
  const auto url = parse_url(text, kEtcdPort);
  if (!url) return;
  etcd.hosts = {url->address};
  etcd.protocol = url->scheme;
  if (!url->username.empty()) {
    etcd.username = url->username;
    etcd.password = url->password;
  }
}

void build_etcd(const Reader& reader, EtcdConfig& etcd, Problems& problems) {
  etcd.protocol = reader.text("etcd3.protocol");
  std::transform(etcd.protocol.begin(), etcd.protocol.end(), etcd.protocol.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  etcd.use_proxies = reader.boolean("etcd3.use_proxies");
  etcd.username = reader.text("etcd3.username");
  etcd.password = reader.secret("etcd3.password");
  etcd.cacert = reader.text("etcd3.cacert");
  etcd.cert = reader.text("etcd3.cert");
  etcd.key = reader.text("etcd3.key");
  for (const char* key : {"etcd3.srv_domain", "etcd3.discovery_srv", "etcd3.srv"}) {
    if (reader.given(key)) etcd.srv = reader.text(key);
  }
  etcd.srv_suffix = reader.text("etcd3.srv_suffix");
  if (reader.given("etcd3.proxy")) {
    add_url(reader.text("etcd3.proxy"), etcd);
    etcd.use_proxies = true;
  } else if (reader.given("etcd3.url")) {
    add_url(reader.text("etcd3.url"), etcd);
  } else {
    for (const char* key : {"etcd3.hosts", "etcd3.host"}) {
      if (!reader.given(key) || !etcd.hosts.empty()) continue;
      for (const std::string& host : reader.list(key)) {
        if (const auto address = parse_host_port(host, kEtcdPort)) etcd.hosts.push_back(*address);
      }
    }
  }
  if (etcd.protocol != "http") return;
  for (const char* key : {"etcd3.cacert", "etcd3.cert"}) {
    const Value* value = reader.usable(key);
    if (value == nullptr) continue;
    problems.push_back({Severity::Warning, value->where, key, value->text, "has no effect while the protocol is http",
                        "set etcd3.protocol: https"});
    break;
  }
}

void build_restapi(const Reader& reader, RestApiConfig& api) {
  if (const auto listen = reader.address("restapi.listen")) api.listen = *listen;
  api.connect_address = reader.address("restapi.connect_address").value_or(api.listen);
  api.username = reader.text("restapi.authentication.username");
  api.password = reader.secret("restapi.authentication.password");
  api.certfile = reader.text("restapi.certfile");
  api.keyfile = reader.text("restapi.keyfile");
  api.keyfile_password = reader.secret("restapi.keyfile_password");
  api.cafile = reader.text("restapi.cafile");
  api.ciphers = reader.text("restapi.ciphers");
  api.verify_client = reader.text("restapi.verify_client");
  api.allowlist = reader.list("restapi.allowlist");
  api.allowlist_include_members = reader.boolean("restapi.allowlist_include_members");
  api.http_extra_headers = reader.map("restapi.http_extra_headers");
  api.https_extra_headers = reader.map("restapi.https_extra_headers");
  api.request_queue_size = static_cast<std::uint32_t>(reader.number("restapi.request_queue_size"));
  api.server_tokens = reader.text("restapi.server_tokens");
  for (std::string* word : {&api.verify_client, &api.server_tokens}) {
    std::transform(word->begin(), word->end(), word->begin(), [](unsigned char c) { return std::tolower(c); });
  }
}

void build_ctl(const Reader& reader, const RestApiConfig& api, CtlConfig& ctl) {
  ctl.insecure = reader.boolean("ctl.insecure");
  ctl.cacert = reader.given("ctl.cacert") ? reader.text("ctl.cacert") : api.cafile;
  ctl.certfile = reader.text("ctl.certfile");
  ctl.keyfile = reader.text("ctl.keyfile");
  ctl.keyfile_password = reader.secret("ctl.keyfile_password");
  const bool own = reader.given("ctl.authentication.username") || reader.given("ctl.authentication.password");
  ctl.username = own ? reader.text("ctl.authentication.username") : api.username;
  ctl.password = own ? reader.secret("ctl.authentication.password") : api.password;
}

void check_restapi(const Reader& reader, const RestApiConfig& api, Problems& problems) {
  const auto warn = [&](const char* key, std::string what, std::string valid) {
    const Value* value = reader.usable(key);
    if (value == nullptr) return;
    problems.push_back({Severity::Warning, value->where, key, value->text, std::move(what), std::move(valid)});
  };
  if (!api.username.empty() && api.password.empty()) {
    warn("restapi.authentication.username", "there is no password for this user",
         "set restapi.authentication.password");
  }
  if (api.verify_client != "none" && api.cafile.empty()) {
    warn("restapi.verify_client", "client certificates cannot be verified without a CA", "set restapi.cafile");
  }
  if (api.certfile.empty()) {
    warn("restapi.keyfile", "has no effect without a certificate", "set restapi.certfile");
  }
}

}  // namespace

void build_common(const Value& root, AgentConfig& config, Problems& problems) {
  const Reader reader(root, false);
  config.scope = reader.text("scope");
  config.name_space = reader.text("namespace");
  build_etcd(reader, config.etcd, problems);
  build_restapi(reader, config.restapi);
  check_restapi(reader, config.restapi, problems);
  build_ctl(reader, config.restapi, config.ctl);
}

}  // namespace pgvigil::config
