// The watchdog device, for the case that the guard cannot cover: the whole machine frozen. While this member leads, the
// device is fed with every renewal of the lease; without food it resets the machine. Linux kernel documentation,
// "The Linux WatchDog Timer Driver API".
#pragma once

#include <chrono>
#include <string>

#include "base/log.h"
#include "base/time.h"

namespace pgvigil::guard {

struct WatchdogSettings {
  bool required = false;  // a device that cannot keep the wanted time counts as unusable
  std::string device = "/dev/watchdog";
  std::chrono::seconds safety_margin{5};  // the device's time is ttl less this; -1: half of ttl
  bool testing = false;                   // a plain file: written to, no ioctl
};

class Watchdog {
 public:
  Watchdog(Log log, WatchdogSettings settings) : log_(log.in_room("watchdog")), settings_(std::move(settings)) {}
  ~Watchdog() { stop(); }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // Whether feed() may be expected to work. Does not open the device: that would start it.
  [[nodiscard]] bool usable() const;
  // Opens it at the first call, follows changes of `ttl`, and feeds it. False: not possible, said once per reason.
  bool feed(Duration ttl, Duration loop_wait);
  // Ends it in order; the machine is no longer reset. Only where PostgreSQL takes no writes any more.
  void stop();

 private:
  bool open_device();
  bool set_timeout(std::chrono::seconds wanted, Duration loop_wait);
  bool fail_with(const std::string& reason);

  Log log_;
  WatchdogSettings settings_;
  int fd_ = -1;
  std::chrono::seconds wanted_{0};  // as set last
  std::string complaint_;           // said last
};

}  // namespace pgvigil::guard
