#include "dcs/etcd/channels.h"

#include <grpcpp/create_channel.h>

#include <cerrno>
#include <fstream>
#include <iterator>

namespace pgvigil::dcs {
namespace {

constexpr int kReconnectFirstMs = 100;
constexpr int kReconnectLastMs = 1000;
// etcd refuses clients that ping more often than every 5 s (--grpc-keepalive-min-time).
constexpr int kPingEveryMs = 10'000;
constexpr int kPingTimeoutMs = 3'000;
constexpr int kMessageMax = 16 * 1024 * 1024;

Result<std::string> read_pem(const std::string& path, const char* what) {
  if (path.empty()) return std::string();
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return fail(Errc::InvalidConfig, std::string("cannot read the etcd ") + what, path, errno_text(errno),
                "check the path and the permissions");
  }
  return std::string(std::istreambuf_iterator<char>(file), {});
}

}  // namespace

Result<std::shared_ptr<grpc::ChannelCredentials>> make_credentials(const EtcdOptions& options) {
  if (!options.tls) return grpc::InsecureChannelCredentials();
  PGV_TRY(ca, read_pem(options.ca_file, "CA certificate"));
  PGV_TRY(cert, read_pem(options.cert_file, "client certificate"));
  PGV_TRY(key, read_pem(options.key_file, "client key"));
  grpc::SslCredentialsOptions ssl;
  ssl.pem_root_certs = std::move(ca);
  ssl.pem_cert_chain = std::move(cert);
  ssl.pem_private_key = std::move(key);
  return grpc::SslCredentials(ssl);
}

Channels::Channels(std::vector<std::string> endpoints, std::shared_ptr<grpc::ChannelCredentials> credentials)
    : credentials_(std::move(credentials)) {
  for (auto& address : endpoints) endpoints_.push_back({std::move(address), nullptr});
  PGV_ASSERT(!endpoints_.empty());
}

std::shared_ptr<grpc::Channel> Channels::channel(std::size_t number) {
  auto& endpoint = endpoints_[number % endpoints_.size()];
  if (!endpoint.channel) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReconnectFirstMs);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kReconnectLastMs);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectLastMs);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kPingEveryMs);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingTimeoutMs);
    arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetMaxReceiveMessageSize(kMessageMax);
    arguments.SetServiceConfigJSON("{}");
    endpoint.channel = grpc::CreateCustomChannel(endpoint.address, credentials_, arguments);
  }
  return endpoint.channel;
}

void Channels::give_up(std::size_t failed) {
  if (failed == current_) current_ = (current_ + 1) % endpoints_.size();
}

void Channels::renew() {
  for (auto& endpoint : endpoints_) endpoint.channel.reset();
}

void Channels::adopt(const std::vector<std::string>& addresses) {
  if (addresses.empty()) return;
  std::vector<Endpoint> next;
  const std::string in_use = endpoints_[current_].address;
  std::size_t current = 0;
  for (const auto& address : addresses) {
    Endpoint endpoint{address, nullptr};
    for (const auto& known : endpoints_) {
      if (known.address == address) endpoint.channel = known.channel;
    }
    if (address == in_use) current = next.size();
    next.push_back(std::move(endpoint));
  }
  endpoints_ = std::move(next);
  current_ = current;
}

}  // namespace pgvigil::dcs
