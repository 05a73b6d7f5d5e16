#include "api/access.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

namespace pgvigil::api {
namespace {

// Lookups of names in the list and of members, all together, for one request.
constexpr Duration kResolveTime = std::chrono::seconds(3);

template <class Bytes>
bool same_bits(const Bytes& a, const Bytes& b, unsigned bits) {
  for (std::size_t i = 0; i < a.size() && bits > 0; ++i) {
    const unsigned here = std::min(bits, 8U);
    const auto mask = static_cast<unsigned char>(0xff << (8 - here));
    if (((a[i] ^ b[i]) & mask) != 0) return false;
    bits -= here;
  }
  return true;
}

}  // namespace

std::optional<Network> Network::parse(const std::string& text) {
  const std::size_t slash = text.find('/');
  boost::system::error_code error;
  Network network;
  network.base_ = unmapped(asio::ip::make_address(text.substr(0, slash), error));
  if (error) return std::nullopt;
  const unsigned widest = network.base_.is_v4() ? 32 : 128;
  network.prefix_ = widest;
  if (slash != std::string::npos) {
    const char* begin = text.data() + slash + 1;
    const char* end = text.data() + text.size();
    const auto [stop, failure] = std::from_chars(begin, end, network.prefix_);
    if (failure != std::errc() || stop != end || network.prefix_ > widest) return std::nullopt;
  }
  return network;
}

bool Network::contains(const asio::ip::address& address) const {
  if (address.is_v4() != base_.is_v4()) return false;
  if (address.is_v4()) return same_bits(address.to_v4().to_bytes(), base_.to_v4().to_bytes(), prefix_);
  return same_bits(address.to_v6().to_bytes(), base_.to_v6().to_bytes(), prefix_);
}

Secret basic_authorization(const std::string& username, const Secret& password) {
  const std::string pair = username + ":" + password.reveal();
  std::string encoded(4 * ((pair.size() + 2) / 3) + 1, '\0');
  const int length =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(encoded.data()),
                      reinterpret_cast<const unsigned char*>(pair.data()), static_cast<int>(pair.size()));
  encoded.resize(static_cast<std::size_t>(length));
  return Secret("Basic " + encoded);
}

bool same_secret(const std::string& given, const std::string& expected) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> a{}, b{};
  SHA256(reinterpret_cast<const unsigned char*>(given.data()), given.size(), a.data());
  SHA256(reinterpret_cast<const unsigned char*>(expected.data()), expected.size(), b.data());
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

void AccessCheck::configure(const config::RestApiConfig& config) {
  networks_.clear();
  hosts_.clear();
  for (const std::string& entry : config.allowlist) {
    if (auto network = Network::parse(entry)) {
      networks_.push_back(*network);
    } else if (entry.find('/') == std::string::npos && !entry.empty()) {
      hosts_.push_back(entry);
    } else {
      log_.error("restapi.allowlist: \"{}\" is not a network, it admits nobody; write it as 10.0.0.0/8", entry);
    }
  }
  // Decided by what was written, not by what could be read: a list of mistakes must not open the door.
  by_address_ = !config.allowlist.empty();
  include_members_ = config.allowlist_include_members;
  certificate_needed_ = config.verify_client == "optional" || config.verify_client == "required";
  authorization_ = config.username.empty() && config.password.empty()
                       ? Secret()
                       : basic_authorization(config.username, config.password);
}

Task<bool> AccessCheck::address_permitted(std::string address, std::vector<std::string> member_hosts) {
  boost::system::error_code error;
  const auto peer = unmapped(asio::ip::make_address(address, error));
  if (error) co_return false;
  for (const Network& network : networks_) {
    if (network.contains(peer)) co_return true;
  }
  std::vector<std::string> hosts = hosts_;
  hosts.insert(hosts.end(), member_hosts.begin(), member_hosts.end());
  const TimePoint deadline = clock_.now() + kResolveTime;
  for (const std::string& host : hosts) {
    const auto addresses = co_await resolver_.resolve(host, deadline);
    if (!addresses) continue;
    for (const auto& one : *addresses) {
      if (unmapped(one) == peer) co_return true;
    }
  }
  co_return false;
}

Task<std::optional<Reply>> AccessCheck::refuse(const Request& request, const ClusterView* view, bool members_count) {
  const bool members = include_members_ && members_count;
  if (by_address_ || members) {
    std::vector<std::string> member_hosts;
    if (members && view != nullptr) {
      for (const Member& member : view->members) {
        if (const auto url = parse_url(member.api_url)) member_hosts.push_back(url->host);
      }
    }
    const bool permitted = co_await address_permitted(request.peer_address, std::move(member_hosts));
    if (!permitted) co_return text_reply(403, "Access is denied");
  }
  if (request.tls && certificate_needed_ && !request.client_certificate) {
    co_return text_reply(403, "client certificate required");
  }
  if (!authorization_.empty()) {
    const bool good = request.authorization && same_secret(*request.authorization, authorization_.reveal());
    if (!good) {
      Reply reply = text_reply(401, request.authorization ? "not authenticated" : "no auth header received");
      reply.headers.emplace_back("WWW-Authenticate", "Basic realm=\"Patroni\"");
      co_return reply;
    }
  }
  co_return std::nullopt;
}

}  // namespace pgvigil::api
