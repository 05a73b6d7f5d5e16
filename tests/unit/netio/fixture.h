// Loops on threads, sockets, and handlers that record what they were told.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "netio/loop.h"

namespace pgvigil::netio {

inline constexpr auto kPatience = std::chrono::seconds(20);

// A loop that runs on a thread of its own; do() runs a call there and waits for it.
class LoopThread {
 public:
  explicit LoopThread(Backend backend) {
    auto made = make_loop({.backend = backend});
    if (!made) throw std::runtime_error(made.error().message());
    loop = std::move(*made);
    thread_ = std::thread([this] { loop->run(); });
  }
  ~LoopThread() { stop(); }

  void stop() {
    if (!thread_.joinable()) return;
    loop->stop();
    thread_.join();
  }

  void restart(std::unique_ptr<Loop> fresh) {
    loop = std::move(fresh);
    thread_ = std::thread([this] { loop->run(); });
  }

  template <class Call>
  auto on_loop(Call call) -> decltype(call()) {
    using Value = decltype(call());
    auto task = std::make_shared<std::packaged_task<Value()>>(std::move(call));
    auto future = task->get_future();
    loop->post([task] { (*task)(); });
    if (future.wait_for(kPatience) != std::future_status::ready) std::abort();
    return future.get();
  }

  // Asks on the loop's thread until the answer is yes.
  bool eventually(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < deadline) {
      if (on_loop(condition)) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }

  std::unique_ptr<Loop> loop;

 private:
  std::thread thread_;
};

struct Sockets {
  Sockets() {
    int fds[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) std::abort();
    ours = fds[0];
    peer = fds[1];
  }
  int ours;  // given to a loop, which closes it
  int peer;
};

// The test's end of a connection, driven by plain system calls of the test's thread.
class Peer {
 public:
  explicit Peer(int fd) : fd_(fd) { ::fcntl(fd_, F_SETFL, 0); }
  ~Peer() { close(); }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  [[nodiscard]] int fd() const { return fd_; }
  void write(std::string_view bytes) const { write_to(fd_, bytes); }
  static void write_to(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
      const auto done = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (done <= 0) return;
      bytes.remove_prefix(static_cast<std::size_t>(done));
    }
  }
  // Exactly `size` bytes, fewer only at the end of the stream.
  [[nodiscard]] std::string read(std::size_t size) const {
    std::string got(size, '\0');
    std::size_t have = 0;
    while (have < size) {
      const auto part = ::recv(fd_, got.data() + have, size - have, 0);
      if (part <= 0) break;
      have += static_cast<std::size_t>(part);
    }
    got.resize(have);
    return got;
  }
  [[nodiscard]] std::string read_all() const {
    std::string all;
    for (std::string part = read(65536);; part = read(65536)) {
      all += part;
      if (part.size() < 65536) return all;
    }
  }

 private:
  int fd_;
};

// Records; what a test wants to do in a handler it puts into the hooks.
struct Recorder : StreamHandler {
  virtual ~Recorder() = default;
  StreamPtr stream;
  std::string bytes;
  int received_calls = 0;
  int ends = 0;
  int end_error = -1;
  int rooms = 0;
  int tls_calls = 0;
  std::function<void(Slice)> when_received;
  std::function<void()> when_end, when_room, when_tls;

  void on_received(Slice slice) override {
    ++received_calls;
    bytes += slice.text();
    if (when_received) when_received(std::move(slice));
  }
  void on_end(int error) override {
    ++ends;
    end_error = error;
    if (when_end) when_end();
  }
  void on_room() override {
    ++rooms;
    if (when_room) when_room();
  }
  void on_tls() override {
    ++tls_calls;
    if (when_tls) when_tls();
  }
};

inline std::string backend_name(const testing::TestParamInfo<Backend>& info) {
  return info.param == Backend::Uring ? "Uring" : "Epoll";
}

class NetioTest : public testing::TestWithParam<Backend> {
 protected:
  LoopThread worker{GetParam()};
};

}  // namespace pgvigil::netio
