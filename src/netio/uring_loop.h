// The io_uring backend: one system call a turn, which submits what the turn produced and waits for what comes next.
//
// Receiving is multishot into buffers that the kernel picks; a stream that receives nothing holds none. Sending is
// tried without waiting (MSG_DONTWAIT) and without a completion (IOSQE_CQE_SKIP_SUCCESS): such a send is over when the
// submission returns, and only one that did not send everything leaves a completion. So the wait that is part of the
// same call really waits, instead of returning at once with the completions of what it submitted. A stream whose peer
// does not take everything goes on with ordinary sends, which wait in the kernel, until it has caught up.
//
// Measured with bench/netio (40 clients, 20 servers, 40 bytes there and 100 back, CPU a transaction, busy machine of
// two processors, Linux 6.18): TCP 9.1-10.4 us against 10.8-13.2 us of epoll, Unix sockets 4.4-4.8 against 5.2-7.1.
// Nearly all of it is the kernel's TCP; our own code is 2 to 4 % of the samples. Waiting up to 50 or 100 us for several
// completions at once did not help (9.6-11.6 us). Descriptors are not registered: looking one up is 0.5 % of the
// samples.
#pragma once

#include <liburing.h>

#include <memory>
#include <vector>

#include "netio/loop_base.h"
#include "netio/uring_buffers.h"

namespace pgvigil::netio {

class UringLoop final : public LoopBase {
 public:
  explicit UringLoop(int wake_fd) : LoopBase(wake_fd) {}
  ~UringLoop() override;

  // Creates the ring, not yet enabled: the thread that runs the loop enables it and is its only submitter from then on.
  Result<void> create();
  [[nodiscard]] std::string backend_text() const override { return "io_uring"; }

 private:
  static constexpr int kPiecesMax = 16;
  struct Message {  // read by the kernel during the submission only
    msghdr header;
    iovec pieces[kPiecesMax];
  };
  struct QuickSend {
    StreamCore* stream;
    std::size_t size;
    std::uint64_t number;  // of its submission entry
  };

  void begin() override;
  void wait(TimePoint until) override;
  void start_stream(StreamCore& stream) override { enqueue(stream); }
  void serve_stream(StreamCore& stream) override;
  bool release_stream(StreamCore& stream) override;
  void start_watch(WatchId id, Watch& watch) override;
  void stop_watch(WatchId id, Watch& watch) override;

  io_uring_sqe& entry();
  void submit();
  void enter(TimePoint until);
  void handle(const io_uring_cqe& completion);
  void handle_received(StreamCore& stream, int result, std::uint32_t flags);
  void handle_sent(StreamCore& stream, int result);
  void handle_watch(WatchId id, int result);
  void settle_quick_sends();
  void arm_watches();
  void feed_starved();
  void start_receive(StreamCore& stream);
  void stop_receive(StreamCore& stream);
  void start_send(StreamCore& stream);
  void read_wake();

  io_uring ring_{};
  bool created_ = false;
  UringBuffers buffers_;
  bool settle_soon_ = false;
  std::uint64_t entries_ = 0;  // taken from the submission queue, ever
  std::vector<QuickSend> quick_sends_;
  std::vector<std::unique_ptr<Message>> messages_;
  std::size_t messages_used_ = 0;
  std::vector<WatchId> watches_to_arm_;
  std::vector<StreamCore*> starved_;
  std::uint64_t wake_value_ = 0;
};

Result<std::unique_ptr<Loop>> make_uring_loop();

}  // namespace pgvigil::netio
