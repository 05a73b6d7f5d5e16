#include "app/follow_cluster.h"

#include "api/peer_client.h"
#include "dcs/etcd/etcd_store.h"
#include "follow/follower_thread.h"

namespace pgvigil::app {
namespace {

dcs::EtcdOptions etcd_options_of(const poolcfg::ClusterSection& section) {
  dcs::EtcdOptions options;
  options.endpoints = section.etcd_hosts;
  options.tls = section.etcd_tls;
  options.ca_file = section.etcd_cacert;
  options.cert_file = section.etcd_cert;
  options.key_file = section.etcd_key;
  options.username = section.etcd_username;
  options.password = section.etcd_password;
  return options;
}

Result<follow::Adapters> make_adapters(Clock& clock, Log log, const poolcfg::ClusterSection& section) {
  follow::Adapters adapters;
  PGV_TRY(kv, dcs::make_etcd_store(clock, log, etcd_options_of(section)));
  adapters.kv = std::move(kv);
  const auto client = std::make_shared<api::PeerClient>(clock, log);
  config::CtlConfig files;
  files.cacert = section.rest_cacert;
  PGV_TRY_VOID(client->configure(files, config::RestApiConfig()));
  adapters.get = [client](std::string url, TimePoint deadline) -> Task<Result<std::string>> {
    api::HttpCall call;
    call.url = std::move(url);
    call.deadline = deadline;
    auto reply = co_await client->request(std::move(call));
    if (!reply) co_return tl::make_unexpected(std::move(reply.error()));
    co_return std::move(reply->body);
  };
  return adapters;
}

}  // namespace

Result<std::unique_ptr<pool::ClusterFollower>> follow_cluster(pool::FollowerStart start) {
  return follow::start_follower_thread(std::move(start), make_adapters, PGVIGIL_VERSION);
}

}  // namespace pgvigil::app
