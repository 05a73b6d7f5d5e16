// The control thread without a process: it records what it is told to do.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "pool/control.h"
#include "pool/pool_statistics.h"
#include "pool/worker.h"

namespace pgvigil::pool {

class FakeControl final : public Control {
 public:
  explicit FakeControl(Pooler& pooler) : pooler_(pooler), loop_(*make()) {}
  netio::Loop& loop() override { return *loop_; }
  Pooler& pooler() override { return pooler_; }
  Statistics& statistics() override { return statistics_; }
  Result<void> reload() override { return call("reload"); }
  Result<void> set(const std::string& key, const std::string& value) override {
    return call("set " + key + " " + value);
  }
  Result<void> pause(Database* database, std::function<void(Result<void>)> done) override {
    waiting = std::move(done);
    return call("pause " + name(database));
  }
  Result<void> resume(Database* database) override { return call("resume " + name(database)); }
  Result<void> suspend(std::function<void(Result<void>)> done) override {
    waiting = std::move(done);
    return call("suspend");
  }
  void reconnect(Database* database) override { call("reconnect " + name(database)); }
  void wait_close(Database* database, std::function<void()> done) override {
    call("wait_close " + name(database));
    done();
  }
  void kill(Database* database) override { call("kill " + name(database)); }
  void kill_client(std::uint64_t id, std::function<void(bool found)> done) override {
    call("kill_client " + std::to_string(id));
    done(id == 5);
  }
  void disable(Database& database, bool disabled) override {
    call((disabled ? "disable " : "enable ") + database.name());
  }
  void shutdown(Shutdown mode) override { call("shutdown " + std::to_string(static_cast<int>(mode))); }
  void shutdown_now() override { call("shutdown_now"); }

  std::string called;
  std::string failure;
  std::function<void(Result<void>)> waiting;

 private:
  static Result<std::unique_ptr<netio::Loop>> make() {
    netio::LoopOptions options;
    options.backend = netio::Backend::Epoll;
    return netio::make_loop(options);
  }
  static std::string name(const Database* database) { return database == nullptr ? "all" : database->name(); }
  Result<void> call(std::string what) {
    called = std::move(what);
    if (failure.empty()) return {};
    return fail(Errc::Failed, failure);
  }
  Pooler& pooler_;
  std::unique_ptr<netio::Loop> loop_;
  Statistics statistics_{TimePoint()};
};

inline RunningConfigPtr one_database() {
  auto made = std::make_shared<RunningConfig>();
  poolcfg::DatabaseEntry app;
  app.name = app.dbname = "app";
  made->file.databases.emplace("app", app);
  app.name = "*";
  made->file.any_database = app;
  return made;
}

}  // namespace pgvigil::pool
