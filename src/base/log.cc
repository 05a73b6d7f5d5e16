#include "base/log.h"

#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "base/time.h"

namespace pgvigil {
namespace {

std::string json_escape(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 8);
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\t': out += "\\t"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
        } else {
          out += c;
        }
    }
  }
  return out;
}

spdlog::level::level_enum spd_level(LogLevel level) {
  switch (level) {
    case LogLevel::Debug: return spdlog::level::debug;
    case LogLevel::Info: return spdlog::level::info;
    case LogLevel::Warning: return spdlog::level::warn;
    case LogLevel::Error: return spdlog::level::err;
    case LogLevel::Critical: return spdlog::level::critical;
  }
  return spdlog::level::info;
}

class SpdlogSink final : public LogSink {
 public:
  explicit SpdlogSink(const LogSettings& settings) : level_(settings.level), json_(settings.json) {
    spdlog::sink_ptr sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    if (!settings.directory.empty()) {
      try {
        sink = std::make_shared<spdlog::sinks::rotating_file_sink_mt>(settings.directory + "/" + settings.file_name,
                                                                      settings.file_bytes, settings.file_count);
      } catch (const spdlog::spdlog_ex& e) {
        std::fprintf(stderr, "pgvigil: cannot open the log file in %s: %s; logging to stderr\n",
                     settings.directory.c_str(), e.what());
      }
    }
    logger_ = std::make_shared<spdlog::logger>("pgvigil", std::move(sink));
    logger_->set_level(spd_level(level_));
    logger_->flush_on(spdlog::level::info);
    if (json_) {
      logger_->set_pattern("%v");
    } else {
      logger_->set_pattern("%Y-%m-%d %H:%M:%S.%e %v");
    }
  }

  void write(LogLevel level, std::string_view room, std::string_view message) override {
    static constexpr std::string_view kNames[] = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"};
    const auto name = kNames[static_cast<std::size_t>(level)];
    if (json_) {
      const auto now = std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now());
      logger_->log(spd_level(level), R"({{"time":"{}","level":"{}","room":"{}","message":"{}"}})", iso8601(now), name,
                   room, json_escape(message));
    } else {
      logger_->log(spd_level(level), "{} {}: {}", name, room, message);
    }
  }
  [[nodiscard]] bool enabled(LogLevel level) const override { return level >= level_; }

 private:
  LogLevel level_;
  bool json_;
  std::shared_ptr<spdlog::logger> logger_;
};

}  // namespace

std::unique_ptr<LogSink> make_log_sink(const LogSettings& settings) { return std::make_unique<SpdlogSink>(settings); }

}  // namespace pgvigil
