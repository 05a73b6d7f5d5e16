// Opens a socket to one of the addresses of a database entry: resolves, chooses, connects; asynchronously.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "netio/loop.h"
#include "pool/address.h"
#include "pool/resolver.h"
#include "poolcfg/settings.h"

namespace pgvigil::pool {

class Worker;

class Dial {
 public:
  // A connected nonblocking socket, or why there is none ("connect failed", "server DNS lookup failed").
  using Done = std::function<void(Result<int> fd, const Address& address)>;

  explicit Dial(Worker& worker) : worker_(worker), alive_(std::make_shared<bool>(true)) {}
  ~Dial();
  Dial(const Dial&) = delete;
  Dial& operator=(const Dial&) = delete;

  // `host`: as in a database entry, empty for the Unix socket directory of the settings.
  void to_host(const std::string& host, int port, Done done);
  void to_address(const Address& address, Done done);

 private:
  void begin(const Address& address);
  void refused(int error);  // tries the next address of the name, or ends
  void finish(Result<int> result);
  Worker& worker_;
  std::shared_ptr<bool> alive_;  // a resolver's answer may come after we are gone
  Done done_;
  Address address_;
  std::vector<Address> others_;  // of the same name, in reverse order
  int fd_ = -1;
  netio::Loop::WatchId watch_ = 0;
};

}  // namespace pgvigil::pool
