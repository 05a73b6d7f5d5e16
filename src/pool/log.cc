#include "pool/log.h"

#include <fcntl.h>
#include <syslog.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <ctime>

namespace pgvigil::pool {
namespace {

constexpr std::array<const char*, 6> kNames = {"FATAL", "ERROR", "WARNING", "LOG", "DEBUG", "NOISE"};
constexpr std::array<int, 6> kPriorities = {LOG_CRIT, LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG, LOG_DEBUG};

int facility(std::string_view name) {
  if (name == "auth") return LOG_AUTH;
  if (name == "authpriv") return LOG_AUTHPRIV;
  if (name == "user") return LOG_USER;
  if (name.size() == 6 && name.substr(0, 5) == "local" && name[5] >= '0' && name[5] <= '7') {
    return LOG_LOCAL0 + ((name[5] - '0') << 3);
  }
  return LOG_DAEMON;
}

std::string prefix(Level level) {
  const auto now = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  std::tm parts{};
  localtime_r(&seconds, &parts);
  std::array<char, 32> day{}, zone{};
  std::strftime(day.data(), day.size(), "%Y-%m-%d %H:%M:%S", &parts);
  std::strftime(zone.data(), zone.size(), "%Z", &parts);
  return fmt::format("{}.{:03} {} [{}] {} ", day.data(), millis, zone.data(), getpid(),
                     kNames.at(static_cast<std::size_t>(level)));
}

void write_whole(int fd, std::string_view line) {
  // A log that cannot be written must not stop the pooler, and there is nowhere to report it.
  const ssize_t written = ::write(fd, line.data(), line.size());
  static_cast<void>(written);
}

}  // namespace

PoolLog::~PoolLog() {
  if (file_ >= 0) ::close(file_);
  if (syslog_) closelog();
}

Result<void> PoolLog::configure(const Target& target) {
  int opened = -1;
  if (!target.file.empty()) {
    opened = ::open(target.file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (opened < 0) {
      return fail(Errc::InvalidConfig, "cannot open logfile", target.file, errno_text(errno),
                  "create its directory and let the pooler's user write there");
    }
  }
  const std::lock_guard lock(mutex_);
  if (file_ >= 0) ::close(file_);
  file_ = opened;
  if (syslog_) closelog();
  syslog_ = !target.syslog_ident.empty();
  ident_ = target.syslog_ident;
  if (syslog_) openlog(ident_.c_str(), LOG_PID, facility(target.syslog_facility));
  verbosity_ = target.verbosity;
  to_stderr_ = target.standard_error;
  return {};
}

void PoolLog::write(Level level, std::string_view text) {
  std::string line = prefix(level);
  for (const char c : text) {
    line += c;
    if (c == '\n') line += '\t';
  }
  line += '\n';
  const std::lock_guard lock(mutex_);
  if (to_stderr_) write_whole(STDERR_FILENO, line);
  if (file_ >= 0) write_whole(file_, line);
  if (syslog_ && level <= Level::Log) {
    ::syslog(kPriorities.at(static_cast<std::size_t>(level)), "%.*s", static_cast<int>(text.size()), text.data());
  }
}

}  // namespace pgvigil::pool
