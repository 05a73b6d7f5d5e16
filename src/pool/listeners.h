// Accepts clients, on the control thread, and gives each to the worker with the fewest.
#pragma once

#include <optional>
#include <vector>

#include "netio/loop.h"
#include "pool/listen_sockets.h"
#include "pool/pooler.h"

namespace pgvigil::pool {

class Listeners {
 public:
  Listeners(netio::Loop& loop, Pooler& pooler, std::vector<ListenSocket> sockets);
  ~Listeners();
  Listeners(const Listeners&) = delete;
  Listeners& operator=(const Listeners&) = delete;

  void start();
  void stop();                                    // what waits in the kernel's queues stays there (SUSPEND)
  void close_tcp();                               // a shutdown that waits: the Unix socket stays for the console
  void adopt(const poolcfg::Settings& settings);  // tcp_* settings, for sockets accepted from now on

  [[nodiscard]] const std::vector<ListenSocket>& sockets() const { return sockets_; }
  // Another process has them now: closed here, and the files stay.
  void give_up();
  void close_and_remove();

 private:
  // One wake-up takes no more, so that signals and the console get their turn in a storm of connections.
  static constexpr int kBatch = 64;
  // After accept() failed for want of descriptors or memory: at once it would fail again.
  static constexpr Duration kRest = std::chrono::seconds(5);

  void watch(std::size_t index);
  void unwatch(std::size_t index);
  void accept_batch(std::size_t index);
  void rest(int error);
  void place(int fd, const Address& peer, const ListenSocket& socket, std::vector<int>& loads);

  netio::Loop& loop_;
  Pooler& pooler_;
  std::vector<ListenSocket> sockets_;
  std::vector<std::optional<netio::Loop::WatchId>> watches_;
  std::optional<netio::Loop::TimerId> rest_;
  std::size_t next_worker_ = 0;
  bool running_ = false;
};

}  // namespace pgvigil::pool
