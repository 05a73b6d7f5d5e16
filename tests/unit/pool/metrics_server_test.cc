// The answerer of HTTP on a loop of its own, asked through real sockets.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "fake_control.h"
#include "pool/metrics.h"

namespace pgvigil::pool {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class MetricsServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = make_metrics_server(control, "127.0.0.1:0");
    ASSERT_TRUE(made) << made.error().message();
    server = std::move(*made);
    port = server->port();
    thread = std::thread([this] { control.loop().run(); });
  }
  void TearDown() override {
    // The server belongs to the loop's thread.
    control.loop().post([this] {
      server.reset();
      control.loop().at_turn_end([this] { control.loop().stop(); });
    });
    if (thread.joinable()) thread.join();
  }
  [[nodiscard]] int connect() const {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(static_cast<std::uint16_t>(port));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const timeval limit{20, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    EXPECT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
    return fd;
  }
  static std::string rest(int fd) {
    std::string text;
    char bytes[4096];
    for (ssize_t n = 0; (n = ::recv(fd, bytes, sizeof bytes, 0)) > 0;) text.append(bytes, static_cast<std::size_t>(n));
    ::close(fd);
    return text;
  }
  [[nodiscard]] std::string ask(const std::string& request) const {
    const int fd = connect();
    // Fails where the server has closed already: then nothing comes back.
    static_cast<void>(::send(fd, request.data(), request.size(), MSG_NOSIGNAL));
    return rest(fd);
  }

  PoolLog log;
  Pooler pooler{one_database(), 0, log};
  FakeControl control{pooler};
  std::unique_ptr<MetricsServer> server;
  std::thread thread;
  int port = 0;
};

TEST_F(MetricsServerTest, AnswersScrapes) {
  const auto text = ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(text, StartsWith("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  EXPECT_THAT(text, HasSubstr("\r\n\r\n# HELP pgbouncer_up "));
  const auto head = ask("HEAD /metrics?name=x HTTP/1.0\r\n\r\n");
  EXPECT_THAT(head, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_EQ(head.find("\r\n\r\n"), head.size() - 4);
}

TEST_F(MetricsServerTest, RefusesEverythingElse) {
  EXPECT_THAT(ask("GET / HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(ask("POST /metrics HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(ask("GET /metrics\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
  EXPECT_THAT(ask("\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
}

TEST_F(MetricsServerTest, BoundsConnections) {
  std::vector<int> open;
  for (int i = 0; i < 16; ++i) open.push_back(connect());
  EXPECT_EQ(rest(connect()), "") << "one more is closed at once";
  for (const int fd : open) ::close(fd);
  // Room is again, as soon as the loop has seen the ends.
  const auto until = boottime_now() + 20s;
  std::string text;
  while (text.empty() && boottime_now() < until) text = ask("GET /metrics HTTP/1.1\r\n\r\n");
  EXPECT_THAT(text, StartsWith("HTTP/1.1 200 OK"));
}

TEST(MetricsServer, NamesWhatItCannotListenOn) {
  PoolLog log;
  Pooler pooler{one_database(), 0, log};
  FakeControl control{pooler};
  for (const char* bad : {"", "9127", "127.0.0.1:", "127.0.0.1:http-ish", "127.0.0.1.5:9127"}) {
    const auto made = make_metrics_server(control, bad);
    ASSERT_FALSE(made) << bad;
    EXPECT_THAT(made.error().message(), HasSubstr("metrics_listen"));
  }
}

}  // namespace
}  // namespace pgvigil::pool
