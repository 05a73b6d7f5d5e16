// Log lines as PgBouncer writes them: to standard error, the log file and syslog at once. Safe from any thread; a line
// is one write. A line never holds a secret.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

#include "base/error.h"

namespace pgvigil::pool {

enum class Level : std::uint8_t { Fatal, Error, Warning, Log, Debug, Noise };

class PoolLog {
 public:
  PoolLog() = default;
  PoolLog(const PoolLog&) = delete;
  PoolLog& operator=(const PoolLog&) = delete;
  ~PoolLog();

  struct Target {
    bool standard_error = true;
    std::string file;             // empty: none
    std::string syslog_ident;     // empty: no syslog
    std::string syslog_facility;  // unknown names mean daemon
    int verbosity = 0;            // 0-3
  };
  // Opens the file anew (log rotation). The old target stays when the file cannot be opened.
  Result<void> configure(const Target& target);
  void standard_error(bool on) { to_stderr_ = on; }

  [[nodiscard]] bool enabled(Level level) const {
    return level <= Level::Log ||
           static_cast<int>(level) - static_cast<int>(Level::Log) <= verbosity_.load(std::memory_order_relaxed);
  }
  void write(Level level, std::string_view text);

  template <class... Args>
  void put(Level level, fmt::format_string<Args...> format, Args&&... args) {
    if (enabled(level)) write(level, fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  std::mutex mutex_;  // of the targets
  std::atomic<int> verbosity_{0};
  std::atomic<bool> to_stderr_{true};
  int file_ = -1;
  bool syslog_ = false;
  std::string ident_;  // syslog keeps a pointer to it
};

}  // namespace pgvigil::pool
