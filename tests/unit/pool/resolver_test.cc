// The resolver against a name server of our own on the loopback.
#include "pool/resolver.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <future>
#include <mutex>
#include <thread>

namespace pgvigil::pool {
namespace {

constexpr auto kPatience = std::chrono::seconds(20);

// Answers A questions from a table, SOA with a serial, and all else with "no such name".
class NameServer {
 public:
  NameServer() : fd_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    if (bind(fd_, reinterpret_cast<sockaddr*>(&at), size) != 0) std::abort();
    getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size);
    port = ntohs(at.sin_port);
    const timeval limit{0, 20'000};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    thread_ = std::thread([this] { serve(); });
  }
  ~NameServer() {
    stop_ = true;
    thread_.join();
    ::close(fd_);
  }
  void set(std::vector<std::string> addresses, std::uint32_t serial = 1) {
    const std::lock_guard lock(mutex_);
    addresses_ = std::move(addresses);
    serial_ = serial;
  }
  int port = 0;
  std::atomic<int> questions{0}, soa_questions{0};
  std::atomic<bool> silent{false};

 private:
  void serve() {
    while (!stop_) {
      std::array<char, 512> packet{};
      sockaddr_in from{};
      socklen_t size = sizeof from;
      const ssize_t got = recvfrom(fd_, packet.data(), packet.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
      if (got < 17 || silent) continue;
      const std::string answer = answer_to(std::string(packet.data(), static_cast<std::size_t>(got)));
      sendto(fd_, answer.data(), answer.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
    }
  }
  std::string answer_to(const std::string& query) {
    const std::lock_guard lock(mutex_);
    const std::size_t end = query.find('\0', 12) + 5;  // behind name, type and class of the question
    const int type = static_cast<unsigned char>(query[end - 3]);
    constexpr int kA = 1, kSoa = 6;
    std::string records;
    int count = 0;
    const auto add = [&](int record_type, const std::string& data) {
      records += std::string("\xc0\x0c\0", 3) + static_cast<char>(record_type) + std::string("\0\1\0\0\0\1\0", 7) +
                 static_cast<char>(data.size()) + data;
      ++count;
    };
    if (type == kA) {
      ++questions;
      for (const auto& text : addresses_) {
        in_addr address{};
        inet_pton(AF_INET, text.c_str(), &address);
        add(kA, std::string(reinterpret_cast<const char*>(&address), sizeof address));
      }
    } else if (type == kSoa) {
      ++soa_questions;
      const std::uint32_t serial = htonl(serial_);
      add(kSoa, std::string("\1a\0\1b\0", 6) + std::string(reinterpret_cast<const char*>(&serial), 4) +
                    std::string(16, '\0'));
    }
    std::string reply = query.substr(0, end);
    reply[2] = static_cast<char>(0x85);
    reply[3] = static_cast<char>(type == kA && count == 0 ? 3 : 0);
    reply[7] = static_cast<char>(count);
    reply[9] = reply[11] = 0;
    return reply + records;
  }

  int fd_;
  std::thread thread_;
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::vector<std::string> addresses_;
  std::uint32_t serial_ = 1;
};

class ResolverTest : public testing::Test {
 protected:
  void SetUp() override {
    file_ = testing::TempDir() + "pgvigil-resolv-" + std::to_string(getpid());
    std::ofstream(file_) << "nameserver 127.0.0.1\n";
    settings.name_server_port = static_cast<std::uint16_t>(server.port);
    settings.resolv_conf = file_;
    loop = std::move(*netio::make_loop({netio::Backend::Epoll}));
    thread_ = std::thread([this] { loop->run(); });
  }
  void TearDown() override {
    on_loop([this] { resolver.reset(); });
    loop->stop();
    thread_.join();
    std::remove(file_.c_str());
  }
  void on_loop(const std::function<void()>& call) {
    std::promise<void> done;
    loop->post([&] {
      call();
      done.set_value();
    });
    if (done.get_future().wait_for(kPatience) != std::future_status::ready) std::abort();
  }
  void start() {
    on_loop([this] {
      auto made = make_resolver(*loop, settings);
      if (!made) throw std::runtime_error(made.error().message());
      resolver = std::move(*made);
      resolver->on_change([this](const std::string& name, const std::vector<Address>&) {
        changed_name = name;
        ++changes;
      });
    });
  }
  std::string resolve(const std::string& name) {
    std::promise<std::string> answer;
    resolver->resolve(name, *loop, [&](const Result<std::vector<Address>>& found) {
      std::string text;
      if (found) {
        for (const auto& address : *found) text += (text.empty() ? "" : " ") + address.ip();
      } else {
        text = found.error().code == Errc::NotFound ? "none" : "failed";
      }
      answer.set_value(text);
    });
    auto future = answer.get_future();
    return future.wait_for(kPatience) == std::future_status::ready ? future.get() : "no answer";
  }
  static bool eventually(const std::function<bool()>& condition) {
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while (!condition() && std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return condition();
  }

  NameServer server;
  Resolver::Settings settings;
  std::unique_ptr<netio::Loop> loop;
  std::unique_ptr<Resolver> resolver;
  std::string changed_name;
  std::atomic<int> changes{0};

 private:
  std::string file_;
  std::thread thread_;
};

TEST_F(ResolverTest, AnswersInTurnFromOneQuestion) {
  server.set({"10.0.0.1", "10.0.0.2"});
  start();
  EXPECT_EQ(resolve("db.example.org"), "10.0.0.1 10.0.0.2");
  EXPECT_EQ(resolve("db.example.org"), "10.0.0.2 10.0.0.1");
  EXPECT_EQ(resolve("db.example.org"), "10.0.0.1 10.0.0.2");
  EXPECT_EQ(server.questions, 1);
}

TEST_F(ResolverTest, NamesOfTheHostsFileAndNumbersWork) {
  start();
  EXPECT_NE(resolve("localhost").find("127.0.0.1"), std::string::npos);
  EXPECT_EQ(resolve("10.9.8.7"), "10.9.8.7");
}

TEST_F(ResolverTest, NoSuchName) {
  start();
  EXPECT_EQ(resolve("nobody.example.org"), "none");
  EXPECT_EQ(resolve("nobody.example.org"), "none");
  EXPECT_EQ(server.questions, 1);
}

TEST_F(ResolverTest, AnAddressThatVanishesIsTold) {
  settings.success_kept = std::chrono::milliseconds(1);
  server.set({"10.0.0.1", "10.0.0.2"});
  start();
  resolve("db.example.org");
  server.set({"10.0.0.2", "10.0.0.3"});
  EXPECT_TRUE(eventually([&] {
    resolve("db.example.org");
    return changes == 1;
  }));
  on_loop([this] { EXPECT_EQ(changed_name, "db.example.org"); });
}

TEST_F(ResolverTest, ANewerZoneIsAskedAnew) {
  settings.zone_check_period = std::chrono::milliseconds(20);
  settings.success_kept = std::chrono::hours(1);
  server.set({"10.0.0.1"}, 7);
  start();
  EXPECT_EQ(resolve("db.example.org"), "10.0.0.1");
  EXPECT_TRUE(eventually([&] { return server.soa_questions >= 2; }));
  EXPECT_EQ(server.questions, 1);
  server.set({"10.0.0.9"}, 8);
  EXPECT_TRUE(eventually([&] { return changes == 1; }));
  EXPECT_EQ(resolve("db.example.org"), "10.0.0.9");
  on_loop([this] {
    const auto zones = resolver->zones();
    ASSERT_EQ(zones.size(), 1U);
    EXPECT_EQ(zones[0].zone, "example.org");
    EXPECT_EQ(zones[0].serial, 8U);
    EXPECT_EQ(zones[0].names, 1);
  });
}

TEST_F(ResolverTest, AReloadAsksAgainWhatIsBeingAsked) {
  server.silent = true;
  server.set({"10.0.0.1"});
  start();
  auto waiting = std::async(std::launch::async, [this] { return resolve("db.example.org"); });
  EXPECT_TRUE(eventually([&] {
    bool asking = false;
    on_loop([&] { asking = resolver->queries() == 1; });
    return asking;
  }));
  server.silent = false;
  on_loop([this] { resolver->configure(settings); });
  EXPECT_EQ(waiting.get(), "10.0.0.1");
}

}  // namespace
}  // namespace pgvigil::pool
