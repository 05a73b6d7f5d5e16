// The load: connections over threads, a measured interval between two lines of stdin and stdout, percentiles.
#include <fmt/core.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <iostream>
#include <memory>
#include <mutex>
#include <queue>
#include <thread>
#include <vector>

#include "load_connection.h"
#include "options.h"
#include "wire.h"

namespace bench {
namespace {

using namespace std::chrono_literals;

constexpr size_t kLoginsAtOnce = 48;  // of a thread; PgBouncer's listen_backlog is 128

enum class Phase { LogIn, Run, Stop };

struct Shared {
  std::atomic<Phase> phase{Phase::LogIn};
  std::atomic<size_t> ready{0};
  std::atomic<int64_t> transactions_left{INT64_MAX};
  std::atomic<uint64_t> errors{0};
  std::mutex mutex;
  std::string first_error;

  void failed(const std::string& why) {
    errors.fetch_add(1);
    const std::lock_guard lock(mutex);
    if (first_error.empty()) first_error = why;
  }
};

class Worker {
 public:
  Worker(const LoadPlan& plan, Shared& shared, size_t connections, double rate)
      : plan_(plan), shared_(shared), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    for (size_t i = 0; i < connections; ++i) connections_.push_back(std::make_unique<LoadConnection>(plan, epoll_));
    if (rate > 0)
      interval_ = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(connections / rate));
  }
  ~Worker() { ::close(epoll_); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void run() {
    if (plan_.reconnect) shared_.ready.fetch_add(connections_.size());
    bool started = false;
    while (shared_.phase.load(std::memory_order_relaxed) != Phase::Stop) {
      if (!started && shared_.phase.load() == Phase::Run) {
        started = true;
        start_all();
      }
      if (!started && !plan_.reconnect) open_more();
      const auto deadline = started ? begin_due() : Clock::now() + 5ms;
      turn(deadline);
    }
  }

  std::vector<uint32_t> latencies;  // microseconds
  uint64_t transactions = 0;

  [[nodiscard]] uint64_t bytes() const {
    uint64_t sum = 0;
    for (const auto& connection : connections_) sum += connection->received + connection->sent;
    return sum;
  }

 private:
  void open_more() {
    for (; next_ < connections_.size() && logging_in_ < kLoginsAtOnce; ++next_, ++logging_in_)
      connections_[next_]->connect();
  }

  void start_all() {
    const auto now = Clock::now();
    for (size_t i = 0; i < connections_.size(); ++i) {
      auto& connection = *connections_[i];
      connection.received = connection.sent = 0;
      if (interval_.count() > 0) {
        connection.due = now + interval_ * static_cast<int64_t>(i) / static_cast<int64_t>(connections_.size());
        waiting_.push(&connection);
      } else {
        next_transaction(connection);
      }
    }
  }

  void next_transaction(LoadConnection& connection) {
    if (shared_.transactions_left.fetch_sub(1) <= 0) {
      shared_.phase = Phase::Stop;
      return;
    }
    connection.started = Clock::now();
    if (plan_.reconnect) {
      connection.connect();
    } else if (connection.ready()) {
      connection.begin();
    }
  }

  // Starts what is due; gives the moment of the next one.
  Clock::time_point begin_due() {
    const auto now = Clock::now();
    while (!waiting_.empty() && waiting_.top()->due <= now) {
      LoadConnection& connection = *waiting_.top();
      waiting_.pop();
      next_transaction(connection);
    }
    return waiting_.empty() ? now + 5ms : std::min(now + 5ms, waiting_.top()->due);
  }

  void turn(Clock::time_point deadline) {
    const auto left = std::max<std::chrono::nanoseconds>(deadline - Clock::now(), 0ns);
    const timespec timeout{.tv_sec = 0, .tv_nsec = left.count()};
    const int count = ::epoll_pwait2(epoll_, events_.data(), static_cast<int>(events_.size()), &timeout, nullptr);
    for (int i = 0; i < count; ++i) {
      auto& event = events_[static_cast<size_t>(i)];
      auto& connection = *static_cast<LoadConnection*>(event.data.ptr);
      after(connection, connection.on_event(event.events));
    }
  }

  void after(LoadConnection& connection, Progress progress) {
    switch (progress) {
      case Progress::Going: break;
      case Progress::Ready:
        if (plan_.reconnect) {
          connection.begin();
        } else {
          --logging_in_;
          shared_.ready.fetch_add(1);
        }
        break;
      case Progress::Done: count(connection); break;
      case Progress::Failed:
        shared_.failed(connection.error());
        if (plan_.reconnect) next_transaction(connection);
        break;
    }
  }

  void count(LoadConnection& connection) {
    const auto now = Clock::now();
    if (!connection.error().empty()) shared_.failed(connection.error());
    ++transactions;
    latencies.push_back(
        static_cast<uint32_t>(std::chrono::duration_cast<std::chrono::microseconds>(now - connection.started).count()));
    if (plan_.reconnect) connection.disconnect();
    if (interval_.count() == 0) return next_transaction(connection);
    connection.due += interval_;
    waiting_.push(&connection);
  }

  struct Later {
    bool operator()(const LoadConnection* a, const LoadConnection* b) const { return a->due > b->due; }
  };

  const LoadPlan& plan_;
  Shared& shared_;
  int epoll_;
  std::vector<std::unique_ptr<LoadConnection>> connections_;
  size_t next_ = 0;
  size_t logging_in_ = 0;
  Clock::duration interval_{0};
  std::priority_queue<LoadConnection*, std::vector<LoadConnection*>, Later> waiting_;
  std::array<epoll_event, 512> events_{};
};

LoadPlan make_plan(const Options& options) {
  LoadPlan plan;
  plan.port = static_cast<uint16_t>(options.number("port", 6432));
  plan.user = options.text("user", "app");
  plan.password = options.text("password", "pool-secret");
  plan.database = options.text("database", "db1");
  plan.tls = options.number("tls", 0) != 0;
  plan.reconnect = options.number("reconnect", 0) != 0;
  plan.copy_bytes = static_cast<uint64_t>(options.number("copy-bytes", 0));
  const std::string sql = options.text("sql", "SELECT one");
  const std::string protocol = options.text("protocol", "simple");
  const std::string zeros(6, '\0');  // no formats, no values, no result formats
  const auto parse = [&](const std::string& name) {
    return message('P', with_zero(name) + with_zero(sql) + std::string(2, '\0'));
  };
  const auto run = [&](const std::string& name) {
    return message('B', with_zero("") + with_zero(name) + zeros) + message('D', with_zero("P")) +
           message('E', with_zero("") + std::string(4, '\0')) + message('S');
  };
  if (protocol == "extended") {
    plan.batch = parse("") + run("");
  } else if (protocol == "prepared") {
    plan.prepare = parse("P0_0") + message('S');
    plan.batch = run("P0_0");
  } else {
    plan.batch = message('Q', with_zero(sql));
  }
  if (plan.tls) {
    plan.context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(plan.context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  }
  return plan;
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out;
}

}  // namespace

int run_load(const Options& options) {
  const LoadPlan plan = make_plan(options);
  const auto connections = static_cast<size_t>(options.number("connections", 40));
  const auto threads = std::max<size_t>(1, static_cast<size_t>(options.number("threads", 1)));
  const double rate = options.number("rate", 0);
  const auto limit =
      std::chrono::duration<double>(options.number("seconds", options.text("transactions").empty() ? 5 : 3600));
  Shared shared;
  if (!options.text("transactions").empty())
    shared.transactions_left = static_cast<int64_t>(options.number("transactions", 0));

  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<std::thread> running;
  for (size_t i = 0; i < threads; ++i) {
    const size_t share = connections / threads + (i < connections % threads ? 1 : 0);
    workers.push_back(std::make_unique<Worker>(plan, shared, share, rate / static_cast<double>(threads)));
  }
  for (auto& worker : workers) running.emplace_back(&Worker::run, worker.get());
  while (shared.ready < connections && shared.errors == 0) std::this_thread::sleep_for(2ms);
  fmt::print("ready\n");
  std::fflush(stdout);
  std::string line;
  std::getline(std::cin, line);
  const auto begin = Clock::now();
  if (options.number("idle", 0) == 0 && shared.errors == 0) {
    shared.phase = Phase::Run;
    while (shared.phase != Phase::Stop && Clock::now() - begin < limit) std::this_thread::sleep_for(1ms);
  }
  const auto seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  shared.phase = Phase::Stop;
  for (auto& thread : running) thread.join();

  std::vector<uint32_t> latencies;
  uint64_t transactions = 0, bytes = 0;
  for (const auto& worker : workers) {
    latencies.insert(latencies.end(), worker->latencies.begin(), worker->latencies.end());
    transactions += worker->transactions;
    bytes += worker->bytes();
  }
  std::sort(latencies.begin(), latencies.end());
  const auto percentile = [&](double share) {
    return latencies.empty() ? 0
                             : latencies[std::min(latencies.size() - 1, static_cast<size_t>(share * latencies.size()))];
  };
  fmt::print(
      R"({{"transactions": {}, "seconds": {:.6f}, "bytes": {}, "errors": {}, "first_error": "{}", "p50_us": {}, )"
      R"("p99_us": {}}})"
      "\n",
      transactions, seconds, bytes, shared.errors.load(), escaped(shared.first_error), percentile(0.5),
      percentile(0.99));
  std::fflush(stdout);
  while (std::getline(std::cin, line)) {
  }
  return shared.errors == 0 ? 0 : 1;
}

}  // namespace bench
