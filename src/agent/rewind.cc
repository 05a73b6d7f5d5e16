// Operations that bring a server with a history of its own back to the leader's.
#include "agent/impl.h"

namespace pgvigil::agent {
namespace {

constexpr Duration kAskLeader = std::chrono::seconds(5);
constexpr unsigned kRewindTries = 5;
constexpr Duration kUndecidedPause = std::chrono::milliseconds(500);

}  // namespace

Task<void> Agent::Impl::check_rewind(MemberName leader) {
  const TimePoint deadline = now() + kAskLeader;
  auto source = upstream(leader);
  if (!source) {
    rewind_ = RewindStage::Undecided;
    co_return;
  }
  postgres::RewindVerdict verdict;
  auto history = co_await p.postgres.ask_leader(*source, deadline);
  if (!history) {
    verdict.reason = history.error().message();
    problem_ = verdict.reason;
  } else if (history->in_recovery) {
    verdict.reason = leader.text() + " is still in recovery";
  } else {
    postgres::LeaderHistory copy = *history;
    verdict = co_await p.postgres.rewind_needed(std::move(copy), deadline);
  }
  if (verdict.reason != rewind_reason_) log.info("histories compared: {}", verdict.reason);
  rewind_reason_ = verdict.reason;
  switch (verdict.kind) {
    case postgres::RewindVerdict::Kind::NotNeeded: rewind_ = RewindStage::Settled; break;
    case postgres::RewindVerdict::Kind::Needed: rewind_ = RewindStage::Needed; break;
    case postgres::RewindVerdict::Kind::Unknown:
      rewind_ = RewindStage::Undecided;
      retry_at_ = now() + kUndecidedPause;
      break;
  }
}

Task<void> Agent::Impl::rewind(MemberName leader) {
  log.info("running pg_rewind from {}: {}", leader.text(),
           instance_.half_rewound ? "an earlier one was interrupted" : rewind_reason_);
  if (instance_.postmaster != PostmasterState::Stopped) {
    auto stopped = co_await stop_server(postgres::StopMode::Fast);
    if (!stopped) {
      back_off(stopped.error());
      co_return;
    }
  }
  running_as_.reset();
  auto source = upstream(leader);
  if (!source) co_return;
  auto progress = progress_sink();
  auto done = co_await p.postgres.rewind(*source, std::move(progress));
  if (done) {
    rewind_ = RewindStage::Settled;
    rewind_failures_ = 0;
    retry_at_.reset();
    log.info("pg_rewind has brought this server back to the history of {}", leader.text());
    co_return;
  }
  if (done.error().code == Errc::Cancelled) co_return;
  // A leader that went away under pg_rewind says nothing about this server: compare again with the next one.
  const bool same_leader = view()->leader && view()->leader->name == leader;
  if (!same_leader) {
    rewind_ = RewindStage::Due;
    rewind_failures_ = 0;
  } else {
    // A connection that broke half-way is no reason to give a server up: it cannot even be started before the next try.
    rewind_ = ++rewind_failures_ < kRewindTries ? RewindStage::Needed : RewindStage::Failed;
  }
  back_off(done.error());
}

Task<void> Agent::Impl::crash_recover() {
  const TimePoint deadline = now() + std::chrono::hours(24);
  auto done = co_await p.postgres.crash_recover(deadline);
  crash_recovered_ = true;  // once: what it could not do now, the ordinary start will report
  if (!done) log.error("{}", done.error().message());
}

}  // namespace pgvigil::agent
