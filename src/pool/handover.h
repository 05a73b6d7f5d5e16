// An upgrade without dropping a client: a new process takes the listening sockets over from the running one, which then
// only serves the clients that it has until they leave.
//
// The running process listens on a Unix socket of its own, beside the one for clients, and talks to processes of its
// own user only. Whole messages (SOCK_SEQPACKET):
//   new: TAKE 1              running: SOCKETS 1 <pid> <flags>, one letter for each descriptor that comes with it
//   new: TAKEN (it accepts)  running: DRAINING (it has let go of the sockets, of this one too)
// Until TAKEN the running process goes on as if nothing had happened; so it does when the new one ends before that.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "netio/loop.h"
#include "pool/listen_sockets.h"
#include "pool/log.h"

namespace pgvigil::pool {

// Beside the clients' Unix socket, else beside the pid file; empty: there is no place for one.
std::string handover_path(const poolcfg::Settings& settings);

// The new process's side; blocks, with a bound.
class Takeover {
 public:
  Takeover(const Takeover&) = delete;
  Takeover& operator=(const Takeover&) = delete;
  Takeover(Takeover&& other) noexcept;
  ~Takeover();

  // NotFound: no process answers there.
  static Result<Takeover> begin(const std::string& path);
  std::vector<ListenSocket> sockets;
  std::vector<std::string> files;  // of Unix sockets among them
  int pid = 0;                     // of the other process
  // We accept. After it the other process is out of the way, also when this returns an error (it has ended).
  Result<void> finish();

 private:
  explicit Takeover(int fd) : fd_(fd) {}
  int fd_;
};

// The running process's side, on the control thread.
class HandoverServer {
 public:
  struct Hooks {
    std::function<const std::vector<ListenSocket>&()> sockets;
    std::function<bool()> permitted;  // not while shutting down or suspended
    std::function<void()> taken;      // give the sockets up and drain
  };
  HandoverServer(netio::Loop& loop, PoolLog& log, Hooks hooks) : loop_(loop), log_(log), hooks_(std::move(hooks)) {}
  ~HandoverServer() { close(); }
  HandoverServer(const HandoverServer&) = delete;
  HandoverServer& operator=(const HandoverServer&) = delete;

  Result<void> listen(const std::string& path);
  void close();

 private:
  // The new process reads its configuration and starts its workers meanwhile.
  static constexpr Duration kTakenWithin = std::chrono::seconds(60);

  void accept_one();
  void on_message();
  void drop_peer();
  void send_sockets();

  netio::Loop& loop_;
  PoolLog& log_;
  Hooks hooks_;
  std::string path_;
  int listener_ = -1, peer_ = -1;
  std::optional<netio::Loop::WatchId> listener_watch_, peer_watch_;
  std::optional<netio::Loop::TimerId> timer_;
};

}  // namespace pgvigil::pool
