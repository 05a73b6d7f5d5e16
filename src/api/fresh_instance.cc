#include "api/fresh_instance.h"

#include <algorithm>

namespace pgvigil::api {

Instance FreshInstance::newest() const {
  const auto status = commands_.status();
  return status->instance.observed >= last_.observed ? status->instance : last_;
}

Task<void> FreshInstance::observe() {
  Instance seen = co_await commands_.observe_now();
  last_ = std::move(seen);
  covers_ = std::max(covers_, began_);
  observing_ = false;
  done_.notify();
}

Task<Instance> FreshInstance::get(TimePoint not_before, TimePoint deadline) {
  while (true) {
    // An observation that fell back to an older one carries an older time; it still was the attempt that was asked for.
    if (covers_ >= not_before) co_return newest();
    if (commands_.status()->instance.observed >= not_before) co_return newest();
    if (clock_.now() >= deadline) co_return newest();
    if (!observing_) {
      observing_ = true;
      began_ = clock_.now();
      tasks_.spawn(observe());
    }
    // One that began too early is waited for as well, then a new one is begun: at most two rounds.
    co_await done_.wait_until(deadline);
  }
}

}  // namespace pgvigil::api
