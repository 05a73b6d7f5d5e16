// Control as the process has it. What has to wait for workers (no connection left, all flushed) is looked at by a short
// timer that runs only while something waits: pauses and shutdowns are rare, and the counts are plain atomics.
#pragma once

#include <atomic>
#include <optional>
#include <vector>

#include "pool/console.h"
#include "pool/control.h"
#include "pool/listeners.h"
#include "pool/worker.h"

namespace pgvigil::pool {

class PoolControl final : public Control {
 public:
  struct Wiring {
    netio::Loop& loop;
    Pooler& pooler;
    Statistics& statistics;
    Listeners& listeners;
    std::function<void(const std::string& state)> notify;  // the service manager
    std::function<void(int status)> exit;                  // ends the process, from the loop
    bool quiet = false;                                    // no log lines on standard error
  };
  explicit PoolControl(Wiring wiring);
  ~PoolControl() override;

  void begin_minimums();
  void use_console(ConsoleSessions* console) { console_ = console; }
  // Signals. A second one during a shutdown ends it at once.
  void on_signal(int number);
  // Another process has the listeners: no new clients, the ones here stay until they leave.
  void drain();

  netio::Loop& loop() override { return wiring_.loop; }
  Pooler& pooler() override { return wiring_.pooler; }
  Statistics& statistics() override { return wiring_.statistics; }
  Result<void> reload() override;
  Result<void> set(const std::string& key, const std::string& value) override;
  Result<void> pause(Database* database, std::function<void(Result<void>)> done) override;
  Result<void> resume(Database* database) override;
  Result<void> suspend(std::function<void(Result<void>)> done) override;
  void reconnect(Database* database) override;
  void wait_close(Database* database, std::function<void()> done) override;
  void kill(Database* database) override;
  void kill_client(std::uint64_t id, std::function<void(bool found)> done) override;
  void disable(Database& database, bool disabled) override;
  void shutdown(Shutdown mode) override;
  void shutdown_now() override;

 private:
  static constexpr Duration kLook = std::chrono::milliseconds(20);

  struct Pausing {
    Database* database;  // null: all
    std::function<void(Result<void>)> done;
  };
  struct Closing {
    Database* database;
    std::function<void()> done;
  };

  void adopt(const std::shared_ptr<const RunningConfig>& config);
  void look_soon();
  void look();
  void look_at_pauses();
  void look_at_suspend();
  void look_at_closing();
  void look_at_shutdown();
  void end_sessions(std::function<bool(const Database&)> chosen);
  void end_if_nobody_is_left();
  void undo_pauses(Database* database);
  void thaw();
  void close_unlinked(Database* database);
  void pump(Database* database);
  void stop_with_signal(Shutdown mode);
  [[nodiscard]] int servers_of(const Database* database) const;
  [[nodiscard]] bool waiting() const;

  Wiring wiring_;
  ConsoleSessions* console_ = nullptr;
  std::optional<netio::Loop::TimerId> timer_;
  std::vector<Pausing> pausing_;
  std::vector<Closing> closing_;
  std::function<void(Result<void>)> suspending_;
  TimePoint suspend_until_;
  bool asked_workers_ = false;  // an answer of theirs is on its way
  bool draining_ = false;       // the listeners are another process's; logins that had begun may complete
  bool exiting_ = false;
};

}  // namespace pgvigil::pool
