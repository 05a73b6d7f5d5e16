#include <sys/timerfd.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <map>
#include <utility>

#include "base/clock.h"
#include "base/error.h"

namespace pgvigil {
namespace {

// One timerfd holds the earliest deadline of an ordered map. CLOCK_BOOTTIME is the point: Asio's own timers run on
// CLOCK_MONOTONIC, which stands still while the machine is suspended, and a lease does not.
class SystemClock final : public Clock {
 public:
  explicit SystemClock(asio::any_io_executor executor)
      : timer_(executor, timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC)) {
    PGV_ASSERT(timer_.native_handle() >= 0);
    wait();
  }
  SystemClock(const SystemClock&) = delete;
  SystemClock& operator=(const SystemClock&) = delete;

  [[nodiscard]] TimePoint now() const override { return boottime_now(); }
  [[nodiscard]] WallTime wall() const override {
    return std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now());
  }

  TimerId call_at(TimePoint when, std::function<void()> call) override {
    const TimerId id = ++last_id_;
    const auto place = calls_.emplace(std::pair(when, id), std::move(call)).first;
    deadlines_.emplace(id, when);
    if (place == calls_.begin()) arm();
    return id;
  }

  void cancel(TimerId timer) override {
    const auto deadline = deadlines_.find(timer);
    if (deadline == deadlines_.end()) return;
    calls_.erase(std::pair(deadline->second, timer));
    deadlines_.erase(deadline);
  }

  [[nodiscard]] asio::any_io_executor executor() override { return timer_.get_executor(); }

 private:
  void arm() {
    itimerspec spec{};
    if (!calls_.empty()) {
      // Zero would disarm, so a deadline in the past becomes the smallest time there is.
      const auto when = std::max(calls_.begin()->first.first.since_boot(), Duration(1));
      spec.it_value.tv_sec = std::chrono::duration_cast<std::chrono::seconds>(when).count();
      spec.it_value.tv_nsec = (when % std::chrono::seconds(1)).count();
    }
    timerfd_settime(timer_.native_handle(), TFD_TIMER_ABSTIME, &spec, nullptr);
  }

  void wait() {
    timer_.async_wait(asio::posix::stream_descriptor::wait_read, [this](boost::system::error_code error) {
      if (error) return;
      std::uint64_t expirations = 0;
      [[maybe_unused]] const auto got = ::read(timer_.native_handle(), &expirations, sizeof expirations);
      run_due();
      arm();
      wait();
    });
  }

  void run_due() {
    const auto now = boottime_now();
    while (!calls_.empty() && calls_.begin()->first.first <= now) {
      auto node = calls_.extract(calls_.begin());
      deadlines_.erase(node.key().second);
      node.mapped()();
    }
  }

  asio::posix::stream_descriptor timer_;
  TimerId last_id_ = 0;
  std::map<std::pair<TimePoint, TimerId>, std::function<void()>> calls_;
  std::map<TimerId, TimePoint> deadlines_;
};

}  // namespace

std::unique_ptr<Clock> make_system_clock(asio::any_io_executor executor) {
  return std::make_unique<SystemClock>(std::move(executor));
}

}  // namespace pgvigil
