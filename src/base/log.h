// One line per fact, said once per change. Production writes through spdlog, the simulator into its trace.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace pgvigil {

enum class LogLevel : std::uint8_t { Debug, Info, Warning, Error, Critical };

class LogSink {
 public:
  virtual ~LogSink() = default;
  virtual void write(LogLevel level, std::string_view room, std::string_view message) = 0;
  [[nodiscard]] virtual bool enabled(LogLevel level) const = 0;
};

// A handle that names the room a line comes from. Cheap to copy; the sink outlives every handle.
class Log {
 public:
  Log(LogSink& sink, std::string_view room) : sink_(&sink), room_(room) {}
  [[nodiscard]] Log in_room(std::string_view room) const { return {*sink_, room}; }
  [[nodiscard]] LogSink& sink() const { return *sink_; }

  template <class... Args>
  void debug(fmt::format_string<Args...> format, Args&&... args) const {
    put(LogLevel::Debug, format, std::forward<Args>(args)...);
  }
  template <class... Args>
  void info(fmt::format_string<Args...> format, Args&&... args) const {
    put(LogLevel::Info, format, std::forward<Args>(args)...);
  }
  template <class... Args>
  void warning(fmt::format_string<Args...> format, Args&&... args) const {
    put(LogLevel::Warning, format, std::forward<Args>(args)...);
  }
  template <class... Args>
  void error(fmt::format_string<Args...> format, Args&&... args) const {
    put(LogLevel::Error, format, std::forward<Args>(args)...);
  }

 private:
  template <class... Args>
  void put(LogLevel level, fmt::format_string<Args...> format, Args&&... args) const {
    if (sink_->enabled(level)) sink_->write(level, room_, fmt::format(format, std::forward<Args>(args)...));
  }

  LogSink* sink_;
  std::string_view room_;  // a literal
};

// Settings of the production sink: the `log` section of the agent's file.
struct LogSettings {
  LogLevel level = LogLevel::Info;
  bool json = false;
  std::string directory;  // empty: stderr
  std::string file_name = "pgvigil.log";
  std::uint32_t file_count = 4;
  std::uint64_t file_bytes = 25'000'000;
};

// Never throws: when the log file cannot be opened it writes to stderr and says why there.
std::unique_ptr<LogSink> make_log_sink(const LogSettings& settings);

}  // namespace pgvigil
