#include "guard/watchdog.h"

#include <fcntl.h>
#include <linux/watchdog.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"

namespace pgvigil::guard {

bool Watchdog::usable() const { return fd_ >= 0 || access(settings_.device.c_str(), W_OK) == 0; }

bool Watchdog::feed(Duration ttl, Duration loop_wait) {
  const auto whole = std::chrono::duration_cast<std::chrono::seconds>(ttl);
  const auto wanted = settings_.safety_margin.count() < 0 ? whole / 2 : whole - settings_.safety_margin;
  if (std::chrono::duration_cast<Duration>(wanted) < loop_wait) {
    stop();
    return fail_with(
        fmt::format("ttl {} s less the safety margin is shorter than loop_wait; lower "
                    "watchdog.safety_margin, -1 means half of ttl",
                    whole.count()));
  }
  if (fd_ < 0 && !open_device()) return false;
  if (wanted != wanted_ && !set_timeout(wanted, loop_wait)) return false;
  // Any write feeds; only an upper-case V would ask for the end.
  if (write(fd_, "1", 1) != 1) {
    const int error = errno;
    return fail_with("it cannot be written to: " + errno_text(error));
  }
  complaint_.clear();
  return true;
}

bool Watchdog::open_device() {
  fd_ = open(settings_.device.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd_ < 0) {
    const int error = errno;
    return fail_with("it cannot be opened: " + errno_text(error));
  }
  wanted_ = std::chrono::seconds(0);
  return true;
}

bool Watchdog::set_timeout(std::chrono::seconds wanted, Duration loop_wait) {
  int seconds = static_cast<int>(wanted.count());
  if (!settings_.testing) {
    (void)ioctl(fd_, WDIOC_SETTIMEOUT, &seconds);  // a driver may refuse, or choose another time
    if (ioctl(fd_, WDIOC_GETTIMEOUT, &seconds) != 0) {
      const int error = errno;
      stop();
      return fail_with("it does not tell its timeout: " + errno_text(error));
    }
  }
  if (seconds > wanted.count() && settings_.required) {
    stop();
    return fail_with(fmt::format("its timeout of {} s cannot be set to {} s", seconds, wanted.count()));
  }
  if (std::chrono::seconds(seconds) < loop_wait) {
    stop();
    return fail_with(fmt::format("its timeout of {} s is shorter than loop_wait", seconds));
  }
  wanted_ = wanted;
  log_.info("{} resets this machine {} s after the last renewal of the lease", settings_.device, seconds);
  return true;
}

void Watchdog::stop() {
  if (fd_ < 0) return;
  // The "magic close": without the V the device would go on and reset the machine.
  const bool told = write(fd_, "V", 1) == 1;
  close(fd_);
  fd_ = -1;
  if (told) {
    log_.info("{} is stopped", settings_.device);
  } else {
    log_.error("{} could not be stopped: it will reset this machine", settings_.device);
  }
}

bool Watchdog::fail_with(const std::string& reason) {
  if (complaint_ != reason) {
    const auto text = fmt::format("the watchdog device {} is not used: {}", settings_.device, reason);
    if (settings_.required) {
      log_.error("{}", text);
    } else {
      log_.warning("{}", text);
    }
  }
  complaint_ = reason;
  return false;
}

}  // namespace pgvigil::guard
