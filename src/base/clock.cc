#include "base/clock.h"

#include <boost/asio/async_result.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

namespace pgvigil {

Task<void> sleep_until(Clock& clock, TimePoint when) {
  auto start = [&clock, when](auto handler) {
    // std::function wants copyable callables; completion handlers only move.
    auto held = std::make_shared<decltype(handler)>(std::move(handler));
    clock.call_at(when, [held] { std::move (*held)(); });
  };
  return asio::async_initiate<const asio::use_awaitable_t<>, void()>(std::move(start), asio::use_awaitable);
}

struct Signal::Waiter {
  std::function<void(bool)> resume;
  Clock::TimerId timer = 0;
  bool done = false;
};

void Signal::notify() {
  if (waiters_.empty()) {
    pending_ = true;
    return;
  }
  auto waiters = std::exchange(waiters_, {});
  for (auto& waiter : waiters) {
    if (waiter->done) continue;
    waiter->done = true;
    clock_.cancel(waiter->timer);
    asio::post(clock_.executor(), [waiter] { waiter->resume(true); });
  }
}

Task<bool> Signal::wait_until(TimePoint deadline) {
  if (pending_) {
    pending_ = false;
    co_return true;
  }
  auto waiter = std::make_shared<Waiter>();
  auto start = [this, waiter, deadline](auto handler) {
    auto held = std::make_shared<decltype(handler)>(std::move(handler));
    waiter->resume = [held](bool notified) { std::move (*held)(notified); };
    waiters_.push_back(waiter);
    waiter->timer = clock_.call_at(deadline, [this, waiter] {
      if (waiter->done) return;
      waiter->done = true;
      std::erase(waiters_, waiter);
      waiter->resume(false);
    });
  };
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<>, void(bool)>(std::move(start),
                                                                                     asio::use_awaitable);
}

}  // namespace pgvigil
