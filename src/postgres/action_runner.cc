#include "postgres/action_runner.h"

#include <boost/asio/post.hpp>
#include <thread>

namespace pgvigil::postgres {

void ActionRunner::cancel() {
  cancelled_ = true;
  if (child_ != nullptr) child_->kill();
}

Result<void> ActionRunner::check() const {
  if (cancelled_) return fail(Errc::Cancelled, "the action was given up on request");
  return {};
}

Task<Result<ChildExit>> ActionRunner::run(ChildSpec spec, ChildTask::LineHandler on_line, TimePoint deadline) {
  PGV_CO_TRY_VOID(check());
  const std::string name = spec.argv.front();
  auto started = ChildTask::start(clock_, std::move(spec), std::move(on_line));
  if (!started) co_return tl::make_unexpected(std::move(started.error()));
  ChildTask* const outer = std::exchange(child_, started->get());
  auto ended = co_await (*started)->wait(deadline);
  child_ = outer;
  PGV_CO_TRY_VOID(check());
  if (!ended && ended.error().subject.empty()) ended.error().subject = name;
  co_return ended;
}

Task<Result<void>> ActionRunner::run_blocking(std::function<Result<void>()> work) {
  struct Shared {
    explicit Shared(Clock& clock) : ended(clock) {}
    Signal ended;
    Result<void> result;
    bool done = false;
  };
  auto shared = std::make_shared<Shared>(clock_);
  auto executor = clock_.executor();
  std::jthread thread([shared, executor, work = std::move(work)] {
    auto result = work();
    asio::post(executor, [shared, result = std::move(result)]() mutable {
      shared->result = std::move(result);
      shared->done = true;
      shared->ended.notify();
    });
  });
  while (!shared->done) co_await shared->ended.wait_until(no_deadline());
  co_return shared->result;
}

}  // namespace pgvigil::postgres
