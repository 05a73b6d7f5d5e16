#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <atomic>
#include <cstddef>
#include <iterator>
#include <vector>

#include "unit/netio/fixture.h"

namespace pgvigil::netio {
namespace {

using LoopTest = NetioTest;

TEST_P(LoopTest, SaysWhatItIs) {
  EXPECT_EQ(worker.loop->backend_text(), GetParam() == Backend::Uring ? "io_uring" : "epoll");
}

TEST_P(LoopTest, RunsCallsOfManyThreadsInTheOrderOfEach) {
  constexpr int kThreads = 4;
  constexpr int kCalls = 5000;
  std::vector<int> seen(kThreads, 0);
  std::atomic<bool> ordered = true;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kCalls; ++i) {
        worker.loop->post([&, t, i] {
          if (seen[static_cast<std::size_t>(t)]++ != i) ordered = false;
        });
        if (i % 512 == 0) std::this_thread::yield();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(worker.eventually([&] {
    for (const int count : seen) {
      if (count != kCalls) return false;
    }
    return true;
  }));
  EXPECT_TRUE(ordered);
}

TEST_P(LoopTest, RunsTimersInOrderAndNotTheCancelled) {
  std::vector<int> ran;
  worker.on_loop([&] {
    const TimePoint now = worker.loop->now();
    worker.loop->call_at(now + 30ms, [&] { ran.push_back(3); });
    worker.loop->call_at(now + 10ms, [&] {
      ran.push_back(1);
      worker.loop->call_at(worker.loop->now(), [&] { ran.push_back(2); });
    });
    const auto doomed = worker.loop->call_at(now + 20ms, [&] { ran.push_back(-1); });
    worker.loop->call_at(now + 15ms, [&, doomed] { worker.loop->cancel(doomed); });
    worker.loop->cancel(12345678);
    std::vector<Loop::TimerId> many;
    for (int i = 0; i < 1000; ++i) many.push_back(worker.loop->call_at(now + 5ms, [&] { ran.push_back(-2); }));
    for (const auto id : many) worker.loop->cancel(id);
    for (const auto id : many) worker.loop->cancel(id);
  });
  EXPECT_TRUE(worker.eventually([&] { return ran == std::vector<int>{1, 2, 3}; }));
}

TEST_P(LoopTest, ATimerIsNeitherEarlyNorMuchTooLate) {
  TimePoint due;
  TimePoint ran;
  worker.on_loop([&] {
    due = worker.loop->now() + 50ms;
    worker.loop->call_at(due, [&] { ran = worker.loop->now(); });
  });
  EXPECT_TRUE(worker.eventually([&] { return ran != TimePoint(); }));
  EXPECT_GE(ran, due);
  EXPECT_LT(ran, due + 2s);
}

TEST_P(LoopTest, CallsAtTheTurnsEndComeAfterItsEvents) {
  std::string order;
  worker.on_loop([&] {
    worker.loop->at_turn_end([&] {
      order += "c";
      worker.loop->at_turn_end([&] { order += "d"; });
    });
    worker.loop->call_at(worker.loop->now(), [&] { order += "b"; });
    order += "a";
  });
  EXPECT_TRUE(worker.eventually([&] { return order == "abcd"; }));
}

TEST_P(LoopTest, AWatchIsLevelTriggeredUntilItIsTakenBack) {
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  int calls = 0;
  Loop::WatchId id = 0;
  worker.on_loop([&] {
    id = worker.loop->watch(pipe[0], kReadable, [&](std::uint32_t ready) {
      EXPECT_EQ(ready, kReadable);
      if (++calls == 3) worker.loop->unwatch(id);  // the byte is never read
    });
  });
  worker.on_loop([&] { EXPECT_EQ(calls, 0); });
  ASSERT_EQ(::write(pipe[1], "x", 1), 1);
  EXPECT_TRUE(worker.eventually([&] { return calls == 3; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  worker.on_loop([&] {
    EXPECT_EQ(calls, 3);
    worker.loop->unwatch(id);
    id = worker.loop->watch(pipe[1], kWritable, [&](std::uint32_t ready) {
      EXPECT_TRUE(ready & kWritable);
      ++calls;
      worker.loop->unwatch(id);
    });
  });
  EXPECT_TRUE(worker.eventually([&] { return calls == 4; }));
  ::close(pipe[1]);
  worker.on_loop([&] {
    id = worker.loop->watch(pipe[0], kWritable, [&](std::uint32_t ready) {
      EXPECT_TRUE(ready & kFailed);
      ++calls;
      worker.loop->unwatch(id);
    });
  });
  EXPECT_TRUE(worker.eventually([&] { return calls == 5; }));
  ::close(pipe[0]);
}

TEST_P(LoopTest, AcceptsAndConnectsByWatches) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(listener, 10), 0);
  ASSERT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  Recorder server;
  Recorder client;
  Loop::WatchId accepting = 0;
  Loop::WatchId connecting = 0;
  worker.on_loop([&] {
    accepting = worker.loop->watch(listener, kReadable, [&](std::uint32_t) {
      const int fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      server.stream = worker.loop->adopt(fd, server);
      server.stream->send("welcome");
    });
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
    connecting = worker.loop->watch(fd, kWritable, [&, fd](std::uint32_t ready) {
      EXPECT_EQ(ready, kWritable);
      worker.loop->unwatch(connecting);
      client.stream = worker.loop->adopt(fd, client);
      client.stream->send("hello");
    });
  });
  EXPECT_TRUE(worker.eventually([&] { return client.bytes == "welcome" && server.bytes == "hello"; }));
  worker.on_loop([&] {
    worker.loop->unwatch(accepting);
    // A reset instead of an end.
    const linger hard{1, 0};
    ::setsockopt(client.stream->fd(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    client.stream.reset();
  });
  EXPECT_TRUE(worker.eventually([&] { return server.ends == 1; }));
  worker.on_loop([&] { server.stream.reset(); });
  ::close(listener);
}

TEST_P(LoopTest, WhatIsSetUpBeforeItRunsIsThereWhenItDoes) {
  auto made = make_loop({.backend = GetParam()});
  ASSERT_TRUE(made);
  Loop& loop = **made;
  Sockets sockets;
  Peer peer(sockets.peer);
  Recorder recorder;
  std::string order;
  recorder.stream = loop.adopt(sockets.ours, recorder);
  recorder.stream->send("early");
  recorder.when_received = [&](const Slice&) { loop.stop(); };
  loop.post([&] { order += "p"; });
  loop.at_turn_end([&] { order += "t"; });
  peer.write("bytes");
  std::thread runner([&] { loop.run(); });
  EXPECT_EQ(peer.read(5), "early");
  runner.join();
  EXPECT_EQ(recorder.bytes, "bytes");
  EXPECT_EQ(order, "pt");
  recorder.stream.reset();
}

// Idle server connections change loops while their peer goes on to send.
TEST_P(LoopTest, StreamsChangeLoopsUnderTraffic) {
  constexpr int kMoves = 301;  // odd: it ends with the other loop
  LoopThread other(GetParam());
  Sockets sockets;
  Peer peer(sockets.peer);
  struct Mover : Recorder {
    Loop* loops[2];
    int moves = 0;
    std::promise<void> settled;
    void move() {
      stream->detach([this](Detached state) {
        stream.reset();
        Loop* next = loops[++moves % 2];
        next->post([this, next, state = std::move(state)]() mutable {
          stream = next->adopt(std::move(state), *this);
          if (moves == kMoves) return settled.set_value();
          next->call_at(next->now() + (moves % 3 == 0 ? 1ms : 0ms), [this] { move(); });
        });
      });
    }
  } mover;
  mover.loops[0] = worker.loop.get();
  mover.loops[1] = other.loop.get();
  worker.on_loop([&] {
    mover.stream = worker.loop->adopt(sockets.ours, mover);
    mover.move();
  });
  std::string expected;
  for (int i = 0; i < 20000; ++i) {
    const std::string text = std::to_string(i) + ",";
    expected += text;
    peer.write(text);
  }
  ASSERT_EQ(mover.settled.get_future().wait_for(kPatience), std::future_status::ready);
  peer.close();
  EXPECT_TRUE(other.eventually([&] { return mover.ends == 1; }));
  EXPECT_TRUE(mover.bytes == expected);
  other.on_loop([&] { mover.stream.reset(); });
  worker.on_loop([] {});  // the first loop's last post() to the other, which ends first, has returned
}

TEST_P(LoopTest, APausedStreamMovesWithWhatItKept) {
  LoopThread other(GetParam());
  Sockets sockets;
  Peer peer(sockets.peer);
  Recorder recorder;
  worker.on_loop([&] {
    recorder.stream = worker.loop->adopt(sockets.ours, recorder);
    recorder.stream->pause();
  });
  peer.write("kept");
  peer.close();
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  auto moved = std::make_shared<std::promise<Detached>>();
  worker.on_loop([&] { recorder.stream.release()->detach([moved](Detached state) { moved->set_value(state); }); });
  auto state = moved->get_future().get();
  other.on_loop([&] { recorder.stream = other.loop->adopt(std::move(state), recorder); });
  other.on_loop([&] {
    EXPECT_TRUE(recorder.stream->paused());
    EXPECT_EQ(recorder.received_calls, 0);
    EXPECT_EQ(recorder.ends, 0);
    recorder.stream->resume();
  });
  EXPECT_TRUE(other.eventually([&] { return recorder.ends == 1; }));
  EXPECT_EQ(recorder.bytes, "kept");
  other.on_loop([&] { recorder.stream.reset(); });
}

TEST_P(LoopTest, CloseTakesBackADetach) {
  Sockets sockets;
  Peer peer(sockets.peer);
  Recorder recorder;
  bool called = false;
  worker.on_loop([&] { recorder.stream = worker.loop->adopt(sockets.ours, recorder); });
  worker.on_loop([&] {
    recorder.stream->detach([&](const Detached&) { called = true; });
    recorder.stream.reset();
  });
  EXPECT_EQ(peer.read_all(), "");
  EXPECT_FALSE(called);
}

// As in containers whose filter of system calls knows no io_uring.
TEST(MakeLoop, FallsBackToEpollWhereIoUringIsForbidden) {
  const auto forbidden = [] {
    sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    sock_fprog filter{std::size(program), program};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
      std::_Exit(2);
    }
    const auto loop = make_loop({});
    const bool fallen = loop && (*loop)->backend_text().starts_with("epoll (io_uring: ") &&
                        (*loop)->backend_text().find("Operation not permitted") != std::string::npos;
    std::_Exit(fallen && !make_loop({.backend = Backend::Uring}) ? 0 : 1);
  };
  EXPECT_EXIT(forbidden(), testing::ExitedWithCode(0), "");
}

INSTANTIATE_TEST_SUITE_P(Backends, LoopTest, testing::Values(Backend::Uring, Backend::Epoll), backend_name);

}  // namespace
}  // namespace pgvigil::netio
