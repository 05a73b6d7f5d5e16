// A stream's state, common to both backends. The backends move bytes between the kernel and received() / out(); the
// core keeps order, pausing, the end, TLS and closing. Methods of Stream only note what is wanted and put the stream on
// the loop's pending list; everything that calls a handler or the kernel happens in the loop's service of that list.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "netio/send_queue.h"
#include "netio/stream.h"

namespace pgvigil::netio {

class LoopBase;
class TlsSession;

// What a stream is while no loop has it: plain values only, since buffers belong to a loop.
class DetachedState {
 public:
  DetachedState() = default;
  DetachedState(const DetachedState&) = delete;
  DetachedState& operator=(const DetachedState&) = delete;
  ~DetachedState();  // closes the descriptor that nobody adopted

  int fd = -1;
  bool paused = false;
  bool ended = false;
  int end_error = 0;
  std::string received;  // and not delivered
  std::unique_ptr<TlsSession> tls;
};

class StreamCore final : public Stream {
 public:
  StreamCore(LoopBase& loop, int fd, StreamHandler& handler);
  StreamCore(const StreamCore&) = delete;
  StreamCore& operator=(const StreamCore&) = delete;
  ~StreamCore() override;

  [[nodiscard]] int fd() const override { return fd_; }
  void set_handler(StreamHandler& handler) override { handler_ = &handler; }
  void send(std::string_view bytes) override;
  void send(const Slice& slice) override;
  [[nodiscard]] std::size_t unsent() const override;
  void pause() override { paused_ = true; }
  void resume() override;
  [[nodiscard]] bool paused() const override { return paused_; }
  void start_tls(TlsContextPtr context, std::string_view received, const std::string& host) override;
  [[nodiscard]] const TlsInfo* tls() const override;
  [[nodiscard]] std::string tls_error() const override;
  void detach(std::function<void(Detached)> done) override;

 private:
  friend class LoopBase;
  friend class EpollLoop;
  friend class UringLoop;
  friend class TlsSession;
  friend struct TlsBio;

  // Bytes that wait for resume(), or for a stream to be adopted.
  struct Backlog {
    std::vector<Slice> pieces;
    std::size_t first = 0;
    std::size_t bytes = 0;
    std::size_t spare = 0;  // behind the last piece, in a block of our own
  };

  void close() override;

  // For the backends.
  void received(Slice bytes);
  void receive_ended(int error);
  void send_failed(int error);
  void sent(std::size_t size);  // may call on_room
  [[nodiscard]] bool wants_receive() const { return !closed_ && !ended_ && !detaching_; }
  [[nodiscard]] std::size_t backlog_bytes() const { return backlog_ == nullptr ? 0 : backlog_->bytes; }

  // Called in the loop's service of pending streams.
  void run_deferred();
  void deliver(Slice bytes);
  void deliver_backlog();
  void keep(Slice bytes);
  void tell_end();
  void note_unsent();
  Detached give_away();

  LoopBase& loop_;
  StreamHandler* handler_;
  StreamCore* previous_ = nullptr;  // all streams of the loop
  StreamCore* next_ = nullptr;
  SendQueue out_;  // as it goes to the kernel
  std::unique_ptr<Backlog> backlog_;
  std::unique_ptr<TlsSession> tls_;
  std::unique_ptr<std::function<void(Detached)>> detached_;
  int fd_;
  int end_error_ = 0;
  int send_error_ = 0;
  bool closed_ : 1 = false;
  bool paused_ : 1 = false;
  bool pending_ : 1 = false;
  bool detaching_ : 1 = false;
  bool ended_ : 1 = false;  // nothing is received any more
  bool end_told_ : 1 = false;
  bool above_ : 1 = false;  // unsent() rose above kHighWater and on_room() is owed
  bool lingering_ : 1 = false;
  // epoll
  bool readable_ : 1 = false;  // an edge came and the socket was not read empty since
  bool hung_up_ : 1 = false;   // the peer's end is in the socket, perhaps behind bytes
  bool blocked_ : 1 = false;   // the socket's send buffer is full, EPOLLOUT is asked for
  // io_uring
  bool receiving_ : 1 = false;   // a receive is in the kernel
  bool cancelling_ : 1 = false;  // and is asked to stop
  bool sending_ : 1 = false;     // a send is in the kernel
  bool starved_ : 1 = false;     // waits for buffers to come back
};
static_assert(sizeof(StreamCore) <= 200, "10,000 idle clients have to stay small");

}  // namespace pgvigil::netio
