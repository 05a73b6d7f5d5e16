#include "base/task_group.h"

#include <boost/asio/co_spawn.hpp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <utility>

namespace pgvigil {

void TaskGroup::spawn(Task<void> task, std::function<void()> then) {
  ++running_;
  asio::co_spawn(clock_.executor(), std::move(task), [this, then = std::move(then)](const std::exception_ptr& error) {
    if (error) {
      try {
        std::rethrow_exception(error);
      } catch (const std::exception& e) {
        std::fprintf(stderr, "pgvigil: an exception left a background task: %s; this is a bug\n", e.what());
      }
      std::abort();
    }
    --running_;
    if (then) then();
    if (running_ == 0) ended_.notify();
  });
}

Task<bool> TaskGroup::join(TimePoint deadline) {
  while (running_ > 0) {
    if (clock_.now() >= deadline) co_return false;
    co_await ended_.wait_until(deadline);
  }
  co_return true;
}

}  // namespace pgvigil
