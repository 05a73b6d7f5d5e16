// Names to addresses without ever blocking the executor, and without letting one dead name server delay the others.
#pragma once

#include <boost/asio/ip/address.hpp>
#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"

namespace pgvigil::api {

// getaddrinfo cannot be interrupted, so each lookup has a thread of its own (at most kLookupsMax at a time) that is
// left behind when nobody waits for it any more. An answer is good for kFresh; an older one is still used when a new
// lookup fails or is slow: in an outage the last known address is better than none. Single-threaded for its users.
class Resolver {
 public:
  static constexpr Duration kFresh = std::chrono::seconds(30);
  static constexpr std::size_t kLookupsMax = 16;
  static constexpr std::size_t kNamesMax = 1024;

  explicit Resolver(Clock& clock);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // Numeric addresses (v6 without brackets) are answered at once. Error: Timeout, or Unavailable with the cause.
  Task<Result<std::vector<asio::ip::address>>> resolve(std::string host, TimePoint deadline);

 private:
  struct Entry;
  struct Mailbox;
  void start_lookup(const std::string& host, const std::shared_ptr<Entry>& entry);

  Clock& clock_;
  std::map<std::string, std::shared_ptr<Entry>> entries_;
  std::size_t lookups_ = 0;
  std::shared_ptr<Mailbox> mailbox_;
};

// An IPv4 address that came in over IPv6 in its IPv4 form.
asio::ip::address unmapped(const asio::ip::address& address);

}  // namespace pgvigil::api
