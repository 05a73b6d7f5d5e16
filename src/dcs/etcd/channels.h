// The endpoints of an etcd cluster, one gRPC channel for each, and which of them is in use. Inside dcs/etcd only.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/security/credentials.h>

#include <memory>
#include <string>
#include <vector>

#include "dcs/etcd/etcd_store.h"

namespace pgvigil::dcs {

class Channels {
 public:
  Channels(std::vector<std::string> endpoints, std::shared_ptr<grpc::ChannelCredentials> credentials);

  // The channel in use and its number. The number stays valid until adopt() is called.
  [[nodiscard]] std::size_t current() const { return current_; }
  std::shared_ptr<grpc::Channel> channel(std::size_t number);
  [[nodiscard]] const std::string& endpoint(std::size_t number) const { return endpoints_[number].address; }
  [[nodiscard]] std::size_t size() const { return endpoints_.size(); }
  // `failed` did not serve: use the next one, unless somebody has moved on already.
  void give_up(std::size_t failed);
  // The next call on each endpoint opens a connection of its own; calls under way keep theirs.
  void renew();
  // The cluster's own list of members; endpoints that are known already keep their channel. An empty list is ignored.
  void adopt(const std::vector<std::string>& addresses);

 private:
  struct Endpoint {
    std::string address;
    std::shared_ptr<grpc::Channel> channel;
  };
  std::vector<Endpoint> endpoints_;
  std::shared_ptr<grpc::ChannelCredentials> credentials_;
  std::size_t current_ = 0;
};

// Credentials for TLS by the options' files, or for plain text.
Result<std::shared_ptr<grpc::ChannelCredentials>> make_credentials(const EtcdOptions& options);

}  // namespace pgvigil::dcs
