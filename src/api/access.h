// Who may send requests that change something. The checks run in a fixed order: address, client certificate, password.
#pragma once

#include <boost/asio/ip/address.hpp>
#include <optional>
#include <string>
#include <vector>

#include "api/http.h"
#include "api/resolver.h"
#include "base/log.h"
#include "base/secret.h"
#include "config/agent_config.h"
#include "model/cluster_view.h"

namespace pgvigil::api {

// "10.0.0.0/8", "fd00::/8" or a single address; host bits may be set.
class Network {
 public:
  static std::optional<Network> parse(const std::string& text);
  [[nodiscard]] bool contains(const asio::ip::address& address) const;

 private:
  asio::ip::address base_;
  unsigned prefix_ = 0;
};

// The value of an Authorization header that these credentials make.
Secret basic_authorization(const std::string& username, const Secret& password);

// Takes the same time whatever the strings are (their lengths apart, which are hashed away).
bool same_secret(const std::string& given, const std::string& expected);

class AccessCheck {
 public:
  AccessCheck(Clock& clock, Resolver& resolver, Log log) : clock_(clock), resolver_(resolver), log_(log) {}

  void configure(const config::RestApiConfig& config);
  // Empty: permitted. `view` may be null. Members' addresses count only when `members_count` and so configured.
  Task<std::optional<Reply>> refuse(const Request& request, const ClusterView* view, bool members_count);

 private:
  Task<bool> address_permitted(std::string address, std::vector<std::string> member_hosts);

  Clock& clock_;
  Resolver& resolver_;
  Log log_;
  bool by_address_ = false, include_members_ = false, certificate_needed_ = false;
  std::vector<Network> networks_;
  std::vector<std::string> hosts_;  // names in the list; resolved when they are needed
  Secret authorization_;            // empty: no password is asked for
};

}  // namespace pgvigil::api
