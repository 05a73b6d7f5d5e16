#include <fcntl.h>

#include "unit/netio/fixture.h"

namespace pgvigil::netio {
namespace {

using StreamTest = NetioTest;

TEST_P(StreamTest, EchoesWhatAPeerSends) {
  Sockets sockets;
  Peer peer(sockets.peer);
  Recorder recorder;
  recorder.when_received = [&](const Slice& slice) { recorder.stream->send(slice); };
  worker.on_loop([&] { recorder.stream = worker.loop->adopt(sockets.ours, recorder); });
  for (int i = 0; i < 100; ++i) {
    const std::string message = "message " + std::to_string(i);
    peer.write(message);
    ASSERT_EQ(peer.read(message.size()), message);
  }
  peer.close();
  EXPECT_TRUE(worker.eventually([&] { return recorder.ends == 1; }));
  worker.on_loop([&] { recorder.stream.reset(); });
  EXPECT_EQ(recorder.end_error, 0);
}

INSTANTIATE_TEST_SUITE_P(Backends, StreamTest, testing::Values(Backend::Uring, Backend::Epoll));

}  // namespace
}  // namespace pgvigil::netio
