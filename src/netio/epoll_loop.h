// The epoll backend, for where io_uring is not permitted.
//
// Streams are registered edge-triggered and once: pausing costs no system call (the edge is remembered and the socket
// read on resume), and the kernel does not look at a handled socket again at the next wait. EPOLLOUT is asked for only
// while the socket's send buffer is full: on Unix sockets every read of the peer would wake us otherwise.
//
// Sends are tried at the turn's end, not when the handler returns: the cost is the same (bench/netio, TCP: 10.9-11.6 us
// a transaction against 11.1-11.3), and messages for one stream that several events produced leave in one call.
#pragma once

#include "netio/loop_base.h"

namespace pgvigil::netio {

class EpollLoop final : public LoopBase {
 public:
  EpollLoop(int epoll_fd, int wake_fd, std::string text);
  ~EpollLoop() override;

  [[nodiscard]] std::string backend_text() const override { return text_; }

 private:
  void wait(TimePoint until) override;
  void start_stream(StreamCore& stream) override;
  void serve_stream(StreamCore& stream) override;
  bool release_stream(StreamCore& stream) override;
  void start_watch(WatchId id, Watch& watch) override;
  void stop_watch(WatchId id, Watch& watch) override;

  void handle_stream(StreamCore& stream, std::uint32_t events);
  void read_stream(StreamCore& stream);
  void write_stream(StreamCore& stream);
  void set_events(StreamCore& stream, int operation);

  const int epoll_fd_;
  const std::string text_;
};

Result<std::unique_ptr<Loop>> make_epoll_loop(std::string text);

}  // namespace pgvigil::netio
