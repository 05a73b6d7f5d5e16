#include <sys/ioctl.h>

#include "unit/netio/fixture.h"

namespace pgvigil::netio {
namespace {

class StreamTest : public NetioTest {
 protected:
  void adopt() {
    worker.on_loop([&] { recorder.stream = worker.loop->adopt(sockets.ours, recorder); });
  }
  void TearDown() override {
    worker.on_loop([&] { recorder.stream.reset(); });
  }
  static std::string pattern(std::size_t size, unsigned seed = 0) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>((i * 7 + i / 251 + seed) & 0xff);
    return text;
  }
  // Has nobody read yet what was sent to the loop? Zero: the loop took it all.
  static int unread(int fd) {
    int bytes = 0;
    ::ioctl(fd, TIOCOUTQ, &bytes);
    return bytes;
  }

  Sockets sockets;
  Peer peer{sockets.peer};
  Recorder recorder;
};

TEST_P(StreamTest, EchoesWhatAPeerSends) {
  recorder.when_received = [&](const Slice& slice) { recorder.stream->send(slice); };
  adopt();
  for (int i = 0; i < 100; ++i) {
    const std::string message = "message " + std::to_string(i);
    peer.write(message);
    ASSERT_EQ(peer.read(message.size()), message);
  }
  peer.close();
  EXPECT_TRUE(worker.eventually([&] { return recorder.ends == 1; }));
  EXPECT_EQ(recorder.end_error, 0);
}

TEST_P(StreamTest, EchoesMuchMoreThanTheSocketsHold) {
  recorder.when_received = [&](const Slice& slice) { recorder.stream->send(slice); };
  adopt();
  const std::string text = pattern(8'000'000);
  std::thread writer([&] { peer.write(text); });
  const std::string got = peer.read(text.size());
  writer.join();
  EXPECT_TRUE(got == text);
}

TEST_P(StreamTest, SmallAndLargeSendsKeepTheirOrder) {
  adopt();
  std::string expected;
  std::thread reader;
  std::string got;
  for (const std::size_t size : {1U, 5U, 300U, 1024U, 1025U, 1700U, 1800U, 20000U, 3U, 100000U, 7U, 7U, 70000U}) {
    expected += pattern(size, static_cast<unsigned>(size));
  }
  expected += expected;
  reader = std::thread([&] { got = peer.read(expected.size()); });
  worker.on_loop([&] {
    for (int round = 0; round < 2; ++round) {
      for (const std::size_t size : {1U, 5U, 300U, 1024U, 1025U, 1700U, 1800U, 20000U, 3U, 100000U, 7U, 7U, 70000U}) {
        recorder.stream->send(pattern(size, static_cast<unsigned>(size)));
      }
    }
    EXPECT_EQ(recorder.stream->unsent(), expected.size());
  });
  reader.join();
  EXPECT_TRUE(got == expected);
  EXPECT_TRUE(worker.eventually([&] { return recorder.stream->unsent() == 0; }));
}

TEST_P(StreamTest, SlicesOfOneReceiveAreSentInAnyOrderAndKeptAlive) {
  std::vector<Slice> kept;
  recorder.when_received = [&](const Slice& slice) { kept.push_back(slice); };
  adopt();
  const std::string text = pattern(12000);
  peer.write(text);
  ASSERT_TRUE(worker.eventually([&] { return recorder.bytes.size() == text.size(); }));
  std::string got;
  std::thread reader([&] { got = peer.read(text.size() * 2); });
  worker.on_loop([&] {
    for (const auto& slice : kept) recorder.stream->send(slice.part(0, 10));
    for (const auto& slice : kept) recorder.stream->send(slice.part(10, slice.size - 10));
    for (const auto& slice : kept) recorder.stream->send(slice);
    kept.clear();
  });
  reader.join();
  EXPECT_EQ(got.size(), text.size() * 2);
  EXPECT_TRUE(got.substr(text.size()) == text);
}

TEST_P(StreamTest, TellsWhenThereIsRoomAgain) {
  adopt();
  const std::string text = pattern(3'000'000);
  worker.on_loop([&] { recorder.stream->send(text); });
  worker.on_loop([&] {
    EXPECT_GT(recorder.stream->unsent(), kHighWater);
    EXPECT_EQ(recorder.rooms, 0);
  });
  EXPECT_TRUE(peer.read(text.size()) == text);
  EXPECT_TRUE(worker.eventually([&] { return recorder.rooms == 1 && recorder.stream->unsent() == 0; }));
  worker.on_loop([&] { recorder.stream->send("little"); });
  EXPECT_EQ(peer.read(6), "little");
  worker.on_loop([&] { EXPECT_EQ(recorder.rooms, 1); });
}

TEST_P(StreamTest, DeliversInOrderAfterAPause) {
  adopt();
  worker.on_loop([&] { recorder.stream->pause(); });
  std::string text = pattern(1'000'000);
  std::thread writer([&] {
    for (int i = 0; i < 50; ++i) peer.write(std::to_string(i));
    peer.write(text);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  worker.on_loop([&] { EXPECT_EQ(recorder.received_calls, 0); });
  int calls = 0;
  worker.on_loop([&] {
    // Pauses again in every third call, and resumes from a call of its own.
    recorder.when_received = [&](const Slice&) {
      if (++calls % 3 != 0) return;
      recorder.stream->pause();
      worker.loop->call_at(worker.loop->now(), [&] { recorder.stream->resume(); });
    };
    recorder.stream->resume();
    EXPECT_EQ(recorder.received_calls, 0);  // not from inside resume()
  });
  std::string expected;
  for (int i = 0; i < 50; ++i) expected += std::to_string(i);
  expected += text;
  EXPECT_TRUE(worker.eventually([&] { return recorder.bytes.size() >= expected.size(); }));
  writer.join();
  EXPECT_TRUE(recorder.bytes == expected);
}

TEST_P(StreamTest, KeepsABoundedAmountWhilePaused) {
  adopt();
  worker.on_loop([&] { recorder.stream->pause(); });
  ::fcntl(peer.fd(), F_SETFL, O_NONBLOCK);
  const std::string block = pattern(65536);
  std::size_t taken = 0;
  auto quiet_since = std::chrono::steady_clock::now();
  // Until it takes nothing for a while: what it took is the sockets' and ours.
  while (std::chrono::steady_clock::now() - quiet_since < std::chrono::milliseconds(100) && taken < 64'000'000) {
    const auto done = ::send(peer.fd(), block.data(), block.size(), MSG_NOSIGNAL);
    if (done <= 0) continue;
    taken += static_cast<std::size_t>(done);
    quiet_since = std::chrono::steady_clock::now();
  }
  EXPECT_LT(taken, 2'000'000U);
  worker.on_loop([&] { recorder.stream->resume(); });
  EXPECT_TRUE(worker.eventually([&] { return recorder.bytes.size() == taken; }));
}

TEST_P(StreamTest, TellsTheEndWhilePausedIfNothingWaits) {
  adopt();
  worker.on_loop([&] { recorder.stream->pause(); });
  peer.close();
  EXPECT_TRUE(worker.eventually([&] { return recorder.ends == 1; }));
  EXPECT_EQ(recorder.end_error, 0);
  worker.on_loop([&] { recorder.stream->resume(); });
  worker.on_loop([&] { EXPECT_EQ(recorder.ends, 1); });
}

TEST_P(StreamTest, TellsTheEndBehindWhatWaits) {
  adopt();
  worker.on_loop([&] { recorder.stream->pause(); });
  peer.write("last words");
  peer.close();
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  worker.on_loop([&] {
    EXPECT_EQ(recorder.ends, 0);
    recorder.when_end = [&] { EXPECT_EQ(recorder.bytes, "last words"); };
    recorder.stream->resume();
  });
  EXPECT_TRUE(worker.eventually([&] { return recorder.ends == 1; }));
  EXPECT_EQ(recorder.bytes, "last words");
}

TEST_P(StreamTest, AnEndBehindMuchThatWaitsIsToldOnce) {
  adopt();
  worker.on_loop([&] { recorder.stream->pause(); });
  const std::string text = pattern(180'000);
  std::thread writer([&] {
    peer.write(text);
    peer.close();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  worker.on_loop([&] { recorder.stream->resume(); });
  writer.join();
  EXPECT_TRUE(worker.eventually([&] { return recorder.ends == 1; }));
  EXPECT_TRUE(recorder.bytes == text);
}

TEST_P(StreamTest, AHalfClosedPeerStillGetsItsAnswer) {
  recorder.when_end = [&] { recorder.stream->send("answer"); };
  adopt();
  peer.write("question");
  ::shutdown(peer.fd(), SHUT_WR);
  EXPECT_EQ(peer.read(6), "answer");
  worker.on_loop([&] { EXPECT_EQ(recorder.bytes, "question"); });
}

TEST_P(StreamTest, SendingToAPeerThatLeftEndsTheStream) {
  adopt();
  worker.on_loop([&] {
    peer.close();
    recorder.stream->send(std::string(1000, 'x'));
  });
  EXPECT_TRUE(worker.eventually([&] { return recorder.ends == 1; }));
  worker.on_loop([&] {
    recorder.stream->send("more");
    EXPECT_EQ(recorder.stream->unsent(), 0U);
  });
}

TEST_P(StreamTest, CloseStillSendsWhatWasSent) {
  adopt();
  const std::string text = pattern(2'000'000);
  worker.on_loop([&] {
    recorder.stream->send(text);
    recorder.stream.reset();
  });
  EXPECT_TRUE(peer.read_all() == text);
  EXPECT_EQ(recorder.ends, 0);
}

TEST_P(StreamTest, CloseWithUnreadBytesStillDeliversTheLastMessage) {
  peer.write(pattern(50'000));
  recorder.when_received = [&](const Slice&) {
    if (recorder.stream == nullptr) return;
    recorder.stream->send("go away");
    recorder.stream.reset();
  };
  adopt();
  EXPECT_EQ(peer.read_all(), "go away");
  worker.on_loop([&] { EXPECT_EQ(recorder.received_calls, 1); });
}

TEST_P(StreamTest, APeerThatNeverReadsIsGivenUp) {
  adopt();
  worker.on_loop([&] {
    recorder.stream->send(pattern(4'000'000));
    recorder.stream.reset();
  });
  const auto begun = std::chrono::steady_clock::now();
  char byte = 0;
  // The descriptor's end is seen by writing: it fails once the loop has closed.
  while (::send(peer.fd(), &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0 || errno == EAGAIN) {
    ASSERT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(kLingerSeconds + 5));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_GE(std::chrono::steady_clock::now() - begun, std::chrono::seconds(kLingerSeconds - 1));
}

TEST_P(StreamTest, AStreamMayBeClosedInEveryHandler) {
  for (int which = 0; which < 3; ++which) {
    Sockets pair;
    Peer other(pair.peer);
    Recorder one;
    one.when_received = [&](const Slice&) {
      if (which == 0) one.stream.reset();
      if (which == 2) one.stream->send(pattern(1'000'000));
    };
    one.when_end = [&] { one.stream.reset(); };
    one.when_room = [&] {
      if (which == 2) one.stream.reset();
    };
    worker.on_loop([&] { one.stream = worker.loop->adopt(pair.ours, one); });
    if (which != 1) other.write("go");
    if (which == 1) ::shutdown(other.fd(), SHUT_WR);
    EXPECT_EQ(other.read_all().size(), which == 2 ? 1'000'000U : 0U) << which;
    EXPECT_TRUE(worker.eventually([&] { return one.stream == nullptr; })) << which;
  }
  adopt();
}

TEST_P(StreamTest, AHandlerMayCloseAnotherStreamOfTheSameTurn) {
  Sockets pair;
  Peer other(pair.peer);
  Recorder second;
  recorder.when_received = [&](const Slice&) { second.stream.reset(); };
  second.when_received = [&](const Slice&) { recorder.stream.reset(); };
  worker.on_loop([&] {
    recorder.stream = worker.loop->adopt(sockets.ours, recorder);
    second.stream = worker.loop->adopt(pair.ours, second);
    peer.write("a");
    other.write("b");
  });
  EXPECT_TRUE(worker.eventually([&] { return recorder.received_calls + second.received_calls > 0; }));
  worker.on_loop([&] {
    EXPECT_EQ(recorder.received_calls + second.received_calls, 1);
    second.stream.reset();
  });
}

TEST_P(StreamTest, TheHandlerCanBeExchanged) {
  adopt();
  Recorder next;
  worker.on_loop([&] { recorder.stream->set_handler(next); });
  peer.write("to the next");
  EXPECT_TRUE(worker.eventually([&] { return next.bytes == "to the next"; }));
  EXPECT_EQ(recorder.received_calls, 0);
}

TEST_P(StreamTest, ManyPausedStreamsDoNotStarveTheOthers) {
  constexpr int kStreams = 300;
  std::vector<std::unique_ptr<Peer>> peers;
  std::vector<std::unique_ptr<Recorder>> recorders;
  const std::string text = pattern(60'000);
  worker.on_loop([&] {
    for (int i = 0; i < kStreams; ++i) {
      Sockets pair;
      peers.push_back(std::make_unique<Peer>(pair.peer));
      recorders.push_back(std::make_unique<Recorder>());
      recorders.back()->stream = worker.loop->adopt(pair.ours, *recorders.back());
      recorders.back()->stream->pause();
    }
  });
  for (const auto& one : peers) one->write(text);
  recorder.when_received = [&](const Slice& slice) { recorder.stream->send(slice); };
  adopt();
  for (int i = 0; i < 100; ++i) {
    peer.write("ping");
    ASSERT_EQ(peer.read(4), "ping");
  }
  worker.on_loop([&] {
    for (const auto& one : recorders) one->stream->resume();
  });
  EXPECT_TRUE(worker.eventually([&] {
    return std::all_of(recorders.begin(), recorders.end(), [&](const auto& one) { return one->bytes == text; });
  }));
  worker.on_loop([&] { recorders.clear(); });
}

TEST_P(StreamTest, ALoopMayEndWithStreamsOpenAndBytesUnsent) {
  adopt();
  Sockets pair;
  Peer other(pair.peer);
  Recorder second;
  worker.on_loop([&] {
    second.stream = worker.loop->adopt(pair.ours, second);
    second.stream->send(pattern(3'000'000));
    second.stream.reset();
    recorder.stream->send(pattern(3'000'000));
  });
  worker.on_loop([&] {
    recorder.stream.reset();
    worker.loop->stop();
  });
  worker.stop();
  worker.loop.reset();
  EXPECT_LT(peer.read_all().size(), 3'000'000U);
  // For TearDown().
  auto fresh = make_loop({.backend = GetParam()});
  ASSERT_TRUE(fresh);
  worker.restart(std::move(*fresh));
}

INSTANTIATE_TEST_SUITE_P(Backends, StreamTest, testing::Values(Backend::Uring, Backend::Epoll), backend_name);

}  // namespace
}  // namespace pgvigil::netio
