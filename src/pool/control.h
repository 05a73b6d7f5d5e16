// The control thread: listeners, signals, reloads, pauses, shutdown, the console and the metrics. It carries no query.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "netio/loop.h"
#include "pool/pooler.h"

namespace pgvigil::pool {

class Statistics;

// What the console's commands do; everything on the control thread. Errors' messages are PgBouncer's texts.
class Control {
 public:
  virtual ~Control() = default;
  virtual netio::Loop& loop() = 0;
  virtual Pooler& pooler() = 0;
  virtual Statistics& statistics() = 0;

  // Configuration, userlist, HBA, ident, TLS files, log file: all or nothing, for all workers. Why it failed is logged.
  virtual Result<void> reload() = 0;
  virtual Result<void> set(const std::string& key, const std::string& value) = 0;

  // `database` null: all. `done` runs when no server connection of them is left (or the pause was undone: an error).
  virtual Result<void> pause(Database* database, std::function<void(Result<void>)> done) = 0;
  virtual Result<void> resume(Database* database) = 0;
  virtual Result<void> suspend(std::function<void(Result<void>)> done) = 0;
  virtual void reconnect(Database* database) = 0;
  virtual void wait_close(Database* database, std::function<void()> done) = 0;
  virtual void kill(Database* database) = 0;
  virtual void kill_client(std::uint64_t id, std::function<void(bool found)> done) = 0;
  virtual void disable(Database& database, bool disabled) = 0;
  // Replies are sent by the console before or never, as the specification says.
  virtual void shutdown(Shutdown mode) = 0;
  virtual void shutdown_now() = 0;
};

}  // namespace pgvigil::pool
