#include "follow/follower_thread.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <thread>

namespace pgvigil::follow {
namespace {

constexpr Duration kStopMax = std::chrono::seconds(1);

class LinesOfPool final : public LogSink {
 public:
  explicit LinesOfPool(pool::PoolLog& log) : log_(log) {}
  void write(LogLevel level, std::string_view, std::string_view message) override {
    log_.put(level_of(level), "cluster: {}", message);
  }
  [[nodiscard]] bool enabled(LogLevel level) const override { return log_.enabled(level_of(level)); }

 private:
  static pool::Level level_of(LogLevel level) {
    switch (level) {
      case LogLevel::Debug: return pool::Level::Debug;
      case LogLevel::Info: return pool::Level::Log;
      case LogLevel::Warning: return pool::Level::Warning;
      case LogLevel::Error:
      case LogLevel::Critical: break;
    }
    return pool::Level::Error;
  }
  pool::PoolLog& log_;
};

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data()) : std::string("localhost");
}

// Its key has the process id in it: during a handover two processes of one configuration drain, each for itself.
Pooler self_of(const pool::FollowerStart& start, const std::string& version) {
  Pooler self;
  self.host = host_name();
  self.listen = start.listen;
  self.version = version;
  const auto port = start.listen.substr(start.listen.rfind(':') + 1);
  const std::string name = start.section.name.empty() ? self.host + "-" + port : start.section.name;
  self.name = fmt::format("{}-{}", name, getpid());
  return self;
}

// What lives on the thread.
struct Parts {
  explicit Parts(pool::PoolLog& lines) : sink(lines), log(sink, "follow") {}
  LinesOfPool sink;
  Log log;
  asio::io_context loop{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{loop.get_executor()};
  std::unique_ptr<Clock> clock = make_system_clock(loop.get_executor());
  TaskGroup ending{*clock};
  Adapters adapters;
  std::unique_ptr<Follower> follower;
};

class FollowerThread final : public pool::ClusterFollower {
 public:
  explicit FollowerThread(pool::PoolLog& log) : parts_(new Parts(log)) {}

  // The parts stay: calls of gRPC that have not ended still post to the loop, and the process ends here anyway.
  ~FollowerThread() override {
    if (!thread_.joinable()) return;
    asio::post(parts_->loop, [parts = parts_] {
      parts->ending.spawn(parts->follower->stop(parts->clock->now() + kStopMax), [parts] { parts->loop.stop(); });
    });
    thread_.join();
  }

  Result<void> start(pool::FollowerStart start, const MakeAdapters& make_adapters, const std::string& version) {
    PGV_TRY(made, make_adapters(*parts_->clock, parts_->log, start.section));
    parts_->adapters = std::move(made);
    FollowerOptions options{start.section, self_of(start, version), start.unix_socket_dir};
    parts_->follower = std::make_unique<Follower>(*parts_->clock, *parts_->adapters.kv, parts_->adapters.get,
                                                  parts_->log, std::move(options), std::move(start.publish));
    thread_ = std::thread([parts = parts_] {
      sigset_t all;
      sigfillset(&all);
      pthread_sigmask(SIG_BLOCK, &all, nullptr);
      pthread_setname_np(pthread_self(), "cluster");
      parts->follower->start();
      parts->loop.run();
    });
    return {};
  }

  void report(Term term, std::optional<PoolerDrain> drain) override {
    asio::post(parts_->loop,
               [parts = parts_, term, drain = std::move(drain)] { parts->follower->report(term, drain); });
  }

 private:
  Parts* parts_;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<pool::ClusterFollower>> start_follower_thread(pool::FollowerStart start,
                                                                     const MakeAdapters& make_adapters,
                                                                     const std::string& version) {
  auto thread = std::make_unique<FollowerThread>(start.log);
  PGV_TRY_VOID(thread->start(std::move(start), make_adapters, version));
  return thread;
}

}  // namespace pgvigil::follow
