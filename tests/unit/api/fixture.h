// A REST server over a scripted agent, on a free port of the loopback interface, and clients that speak raw bytes.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_future.hpp>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "agent/commands.h"
#include "api/server.h"
#include "base/clock.h"
#include "base/log.h"
#include "config/agent_config.h"

namespace pgvigil::api::test {

class SilentSink final : public LogSink {
 public:
  void write(LogLevel, std::string_view, std::string_view) override {}
  [[nodiscard]] bool enabled(LogLevel) const override { return false; }
};

inline SilentSink& silent_sink() {
  static SilentSink sink;
  return sink;
}

inline Member make_member(const std::string& name, const std::string& address = "127.0.0.1") {
  Member member;
  member.name = MemberName(name);
  member.api_url = "http://" + address + ":8008/patroni";
  member.conn_url = "postgres://" + address + ":5432/postgres";
  member.host = address;
  member.port = 5432;
  member.state = InstanceState::Running;
  member.role = Role::Replica;
  member.raw = "{}";
  return member;
}

// Cluster "demo": leader n1, replicas n2 and n3; the leader's position is 100,000,000.
inline ClusterView make_view() {
  ClusterView view;
  view.revision = Revision(100);
  view.leader = LeaderKey{MemberName("n1"), Term(Revision(7)), Revision(7), LeaseId(1)};
  view.members = {make_member("n1"), make_member("n2"), make_member("n3")};
  view.members[0].role = Role::Leader;
  view.status.optime = Lsn(100000000);
  view.config = R"({"ttl":30,"loop_wait":10,"postgresql":{"parameters":{"max_connections":100}}})";
  view.config_revision = Revision(50);
  return view;
}

inline std::shared_ptr<const ClusterView> share(ClusterView view) {
  return std::make_shared<const ClusterView>(std::move(view));
}

// n1, leading, with a proven lease until `leader_until`.
inline agent::AgentStatus leader_status(TimePoint leader_until) {
  agent::AgentStatus status;
  status.scope = "demo";
  status.name = MemberName("n1");
  status.view = share(make_view());
  status.dcs_fresh = true;
  status.dcs_last_seen = WallTime(std::chrono::seconds(1795486456));
  status.role = Role::Leader;
  status.state = InstanceState::Running;
  status.leader_until = leader_until;
  status.instance.postmaster = PostmasterState::Running;
  status.instance.data_directory = DataDirectory::Present;
  status.instance.server_version = 150020;
  status.instance.postmaster_start_time = "2026-01-24 02:13:52.281130+00:00";
  status.instance.system_id = SystemId("7711555499471225088");
  status.instance.timeline = Timeline(1);
  status.instance.flushed = Lsn(100000000);
  status.last_decision.action = Action::KeepLeading;
  status.last_decision.rule = "leading";
  status.last_decision.reason = "the lease is proven";
  status.decisions = {{"leading", 12}};
  status.guard_armed = true;
  return status;
}

// n2, streaming, with everything replayed.
inline agent::AgentStatus replica_status() {
  agent::AgentStatus status = leader_status(TimePoint());
  status.name = MemberName("n2");
  status.role = Role::Replica;
  status.instance.in_recovery = true;
  status.instance.flushed = Lsn();
  status.instance.received = Lsn(100000000);
  status.instance.replayed = Lsn(100000000);
  status.instance.replication_state = "streaming";
  status.last_decision.action = Action::Follow;
  status.last_decision.rule = "following";
  status.guard_armed.reset();
  return status;
}

class FakeCommands : public agent::Commands {
 public:
  explicit FakeCommands(Clock& clock) : clock_(clock) {
    auto initial = leader_status(clock.now() + std::chrono::hours(1));
    set(std::move(initial));
  }

  void set(agent::AgentStatus status) { status_ = std::make_shared<const agent::AgentStatus>(std::move(status)); }
  void set_view(ClusterView view) {
    agent::AgentStatus status = *status_;
    status.view = share(std::move(view));
    set(std::move(status));
  }

  [[nodiscard]] std::shared_ptr<const agent::AgentStatus> status() const override { return status_; }
  Clock& clock() override { return clock_; }

  Task<agent::CommandReply> restart(RestartRequest request) override {
    calls.push_back("restart");
    restart_request = std::move(request);
    if (restart_takes > Duration(0)) co_await sleep_for(clock_, restart_takes);
    co_return restart_reply;
  }
  Task<agent::CommandReply> schedule_restart(RestartRequest request) override {
    calls.push_back("schedule_restart");
    restart_request = std::move(request);
    co_return schedule_reply;
  }
  Task<agent::CommandReply> delete_scheduled_restart() override {
    calls.push_back("delete_scheduled_restart");
    co_return delete_restart_reply;
  }
  Task<agent::CommandReply> reinitialize(bool force, bool from_leader) override {
    calls.push_back(std::string("reinitialize") + (force ? " force" : "") + (from_leader ? " from_leader" : ""));
    co_return reinitialize_reply;
  }
  agent::CommandReply reload() override {
    calls.push_back("reload");
    return reload_reply;
  }
  Task<dcs::TxnReply> write_config(std::string json, std::optional<Revision> expected, TimePoint) override {
    calls.push_back("write_config " + json + (expected ? " @" + std::to_string(expected->value()) : ""));
    co_return write_reply;
  }
  Task<dcs::TxnReply> write_failover(std::string json, std::optional<Revision> expected, TimePoint) override {
    calls.push_back("write_failover " + json + (expected ? " @" + std::to_string(expected->value()) : ""));
    if (on_failover) on_failover(*this);
    co_return write_reply;
  }
  Task<bool> can_take_over(MemberName member) override {
    co_return able.empty() || std::find(able.begin(), able.end(), member.text()) != able.end();
  }
  Task<Instance> observe_now() override {
    ++observations;
    Instance seen = status_->instance;
    const TimePoint began = clock_.now();
    if (observe_takes > Duration(0)) co_await sleep_for(clock_, observe_takes);
    seen.observed = began;
    co_return seen;
  }
  FailsafeReply failsafe_ping(const std::string& name, const std::string& conn_url, const std::string& api_url,
                              std::optional<Duration>) override {
    calls.push_back("failsafe " + name + " " + conn_url + " " + api_url);
    return failsafe_reply;
  }

  std::vector<std::string> calls, able;
  RestartRequest restart_request;
  agent::CommandReply restart_reply = {200, "restarted successfully"};
  agent::CommandReply schedule_reply = {202, "Restart scheduled"};
  agent::CommandReply delete_restart_reply = {404, "no restarts are scheduled"};
  agent::CommandReply reinitialize_reply = {200, "reinitialize started"};
  agent::CommandReply reload_reply = {202, "reload scheduled"};
  dcs::TxnReply write_reply = applied(101);
  FailsafeReply failsafe_reply;
  Duration restart_takes{0}, observe_takes{0};
  int observations = 0;
  std::function<void(FakeCommands&)> on_failover;

  static dcs::TxnReply applied(std::int64_t revision) {
    dcs::TxnReply reply;
    reply.outcome = dcs::WriteOutcome::Applied;
    reply.revision = Revision(revision);
    return reply;
  }
  static dcs::TxnReply refused() {
    dcs::TxnReply reply;
    reply.outcome = dcs::WriteOutcome::Refused;
    return reply;
  }

 private:
  Clock& clock_;
  std::shared_ptr<const agent::AgentStatus> status_;
};

// An executor on a thread of its own. Everything that the server touches is touched there only: use on_loop().
class Loop {
 public:
  Loop() : work_(asio::make_work_guard(io_)), clock_(make_system_clock(io_.get_executor())) {
    thread_ = std::thread([this] { io_.run(); });
  }
  ~Loop() { stop(); }
  void stop() {
    if (!thread_.joinable()) return;
    io_.stop();
    thread_.join();
  }
  Clock& clock() { return *clock_; }
  asio::io_context& io() { return io_; }

  template <class Call>
  auto on_loop(Call call) -> decltype(call()) {
    std::packaged_task<decltype(call())()> task(std::move(call));
    auto result = task.get_future();
    asio::post(io_, std::move(task));
    return result.get();
  }
  template <class T>
  T run(Task<T> task) {
    return asio::co_spawn(io_, std::move(task), asio::use_future).get();
  }

 private:
  asio::io_context io_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::unique_ptr<Clock> clock_;
  std::thread thread_;
};

// A blocking client of raw bytes.
class RawClient {
 public:
  explicit RawClient(std::uint16_t port, const std::string& address = "127.0.0.1");
  ~RawClient();
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;
  [[nodiscard]] bool connected() const { return descriptor_ >= 0; }
  bool send(const std::string& bytes);
  // All bytes until the end of the connection, or until `patience` has passed.
  std::string receive(std::chrono::milliseconds patience = std::chrono::seconds(10));
  // Whether the other side has closed within `patience`.
  bool closed_within(std::chrono::milliseconds patience);

 private:
  int descriptor_ = -1;
};

struct Answer {
  int status = 0;
  std::string head, body;
};
Answer split(const std::string& bytes);
std::string request_text(const std::string& method, const std::string& path, const std::string& body = {},
                         const std::string& headers = {});

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() { config.listen = {"127.0.0.1", 0}; }
  ~ServerTest() override { stop(); }
  void start();
  void stop();
  std::string raw(const std::string& bytes);
  Answer call(const std::string& method, const std::string& path, const std::string& body = {},
              const std::string& headers = {});
  void set_status(agent::AgentStatus status) {
    loop.on_loop([&] { commands.set(std::move(status)); });
  }
  std::vector<std::string> calls() {
    return loop.on_loop([&] { return commands.calls; });
  }

  Loop loop;
  FakeCommands commands{loop.clock()};
  config::RestApiConfig config;
  ServerLimits limits;
  std::unique_ptr<ApiServer> server;
  std::uint16_t port = 0;
};

inline RawClient::RawClient(std::uint16_t port, const std::string& address) {
  descriptor_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in target{};
  target.sin_family = AF_INET;
  target.sin_port = htons(port);
  inet_pton(AF_INET, address.c_str(), &target.sin_addr);
  if (connect(descriptor_, reinterpret_cast<sockaddr*>(&target), sizeof(target)) != 0) {
    close(descriptor_);
    descriptor_ = -1;
  }
}

inline RawClient::~RawClient() {
  if (descriptor_ >= 0) close(descriptor_);
}

inline bool RawClient::send(const std::string& bytes) {
  std::size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t step = ::send(descriptor_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (step <= 0) return false;
    sent += static_cast<std::size_t>(step);
  }
  return true;
}

inline std::string RawClient::receive(std::chrono::milliseconds patience) {
  std::string bytes;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (true) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    pollfd waiting{descriptor_, POLLIN, 0};
    if (left <= 0 || poll(&waiting, 1, static_cast<int>(left)) <= 0) return bytes;
    char buffer[4096];
    const ssize_t got = recv(descriptor_, buffer, sizeof(buffer), 0);
    if (got <= 0) return bytes;
    bytes.append(buffer, static_cast<std::size_t>(got));
  }
}

inline bool RawClient::closed_within(std::chrono::milliseconds patience) {
  const auto begin = std::chrono::steady_clock::now();
  receive(patience);
  return std::chrono::steady_clock::now() - begin < patience;
}

inline Answer split(const std::string& bytes) {
  Answer answer;
  const std::size_t end = bytes.find("\r\n\r\n");
  if (end == std::string::npos || bytes.size() < 12) return answer;
  answer.head = bytes.substr(0, end + 2);
  answer.body = bytes.substr(end + 4);
  answer.status = std::atoi(bytes.c_str() + 9);
  return answer;
}

inline std::string request_text(const std::string& method, const std::string& path, const std::string& body,
                                const std::string& headers) {
  std::string text = method + " " + path + " HTTP/1.1\r\nHost: localhost\r\n" + headers;
  if (!body.empty()) text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  return text + "\r\n" + body;
}

inline void ServerTest::start() {
  loop.on_loop([&] {
    server = std::make_unique<ApiServer>(commands, Log(silent_sink(), "api"), Versions{"4.1.4", "0.1.0"}, limits);
    const auto started = server->start(config);
    if (started) port = server->port();
  });
  ASSERT_NE(port, 0);
}

inline void ServerTest::stop() {
  if (server) {
    const TimePoint deadline = loop.clock().now() + std::chrono::seconds(20);
    EXPECT_TRUE(loop.run(server->stop(deadline)));
    loop.on_loop([&] { server.reset(); });
  }
  loop.stop();
}

inline std::string ServerTest::raw(const std::string& bytes) {
  RawClient client(port);
  EXPECT_TRUE(client.connected());
  client.send(bytes);
  return client.receive();
}

inline Answer ServerTest::call(const std::string& method, const std::string& path, const std::string& body,
                               const std::string& headers) {
  return split(raw(request_text(method, path, body, headers)));
}

}  // namespace pgvigil::api::test
