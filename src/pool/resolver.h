// Host names to addresses: asynchronous, with a cache that all workers share (c-ares, on the control thread).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "netio/loop.h"
#include "pool/address.h"

namespace pgvigil::pool {

class Resolver {
 public:
  struct Settings {
    Duration success_kept{std::chrono::seconds(15)}, failure_kept{std::chrono::seconds(15)};
    Duration zone_check_period{0};
    std::string resolv_conf;
    std::uint16_t name_server_port = 53;
  };
  struct HostRow {
    std::string name;
    std::int64_t ttl_seconds = 0;
    std::vector<Address> addresses;
  };
  struct ZoneRow {
    std::string zone;
    std::uint32_t serial = 0;
    int names = 0;
  };
  virtual ~Resolver() = default;
  // From any thread; `done` is posted to `loop`. Each answer starts at the next address (round robin). Ports are not
  // set.
  virtual void resolve(const std::string& name, netio::Loop& loop,
                       std::function<void(Result<std::vector<Address>>)> done) = 0;
  virtual void configure(const Settings& settings) = 0;
  // A refreshed answer lacks addresses that the last one had: called on the control thread.
  virtual void on_change(std::function<void(const std::string& name, const std::vector<Address>& now)> call) = 0;
  // On the control thread.
  [[nodiscard]] virtual std::vector<HostRow> hosts() const = 0;
  [[nodiscard]] virtual std::vector<ZoneRow> zones() const = 0;
  [[nodiscard]] virtual std::size_t queries() const = 0;
};

// `control`: the loop that it runs on.
Result<std::unique_ptr<Resolver>> make_resolver(netio::Loop& control, const Resolver::Settings& settings);

}  // namespace pgvigil::pool
