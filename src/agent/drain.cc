// The conversation with the poolers before PostgreSQL is stopped on purpose: they are asked to hand out no more
// connections to this leader, let the transactions in flight end, and say so. Nothing depends on their answers but
// what clients see, so it is bounded, and whatever else presses comes first.
#include <algorithm>

#include "agent/impl.h"
#include "ha/drain.h"

namespace pgvigil::agent {
namespace {

constexpr Duration kWriteMax = std::chrono::seconds(1);
// So much before the moment at which a lease at risk has to end in a stop, the drain is given up: the stop is then the
// rules' own, a clean one.
constexpr Duration kReserve = std::chrono::milliseconds(200);

}  // namespace

// Until when the poolers may be waited for, by the lease; the renewals move it on.
TimePoint Agent::Impl::drain_limit() const {
  const auto until = leader_until();
  if (settings().pause || !until) return TimePoint::max();
  return stop_begins(*until) - kReserve;
}

// True: PostgreSQL may be stopped. False: the lead has been lost or is at risk, PostgreSQL has died, or the agent is
// told to stop meanwhile, so that what was to follow is not to be done. The request stays until the lead is given up or
// end_drain().
Task<bool> Agent::Impl::drain_poolers(std::string reason) {
  const Duration timeout = settings().switchover_drain_timeout;
  if (timeout == Duration::zero() || view()->poolers.empty() || !attached()) co_return true;
  const unsigned stops = stop_requests_;
  const TimePoint began = now();
  const TimePoint patience = began + timeout;
  DrainRequest request;
  request.term = view()->leader->term;
  request.id = fmt::format("{}-{}", request.term.value(), view()->revision.value());
  request.reason = reason;
  request.leader = p.node.name();
  request.timeout = timeout;
  const auto given_up = [&] {
    return stop_requests_ != stops || crashed_ || !attached() || dcs_silent_since_ ||
           now() >= std::min(patience, drain_limit());
  };
  progress_ = "waiting for the poolers to drain";
  auto outcome = dcs::WriteOutcome::Unknown;
  while (outcome == dcs::WriteOutcome::Unknown && !given_up()) {
    DrainRequest copy = request;
    const TimePoint deadline = std::min({patience, drain_limit(), now() + kWriteMax});
    auto reply = co_await p.store.write_drain(std::move(copy), deadline);
    outcome = reply.outcome;
    if (outcome == dcs::WriteOutcome::Unknown) co_await sleep_for(p.clock, std::chrono::milliseconds(20));
  }
  auto done = ha::drain_progress(*view(), request.id);
  while (outcome == dcs::WriteOutcome::Applied && !done.complete() && !given_up()) {
    const TimePoint look = std::min(patience, drain_limit());
    (void)co_await drain_wake_.wait_until(look);
    done = ha::drain_progress(*view(), request.id);
  }
  progress_.clear();
  DrainNote note;
  note.leader = p.node.name();
  note.timeline = instance_.timeline;
  note.reason = std::move(reason);
  note.timestamp = iso8601(p.clock.wall());
  note.waited = now() - began;
  note.poolers = done.poolers;
  note.undrained = done.undrained;
  note.active = done.active;
  if (outcome != dcs::WriteOutcome::Applied) {
    log.warning("{}: the poolers could not be asked to drain, {:.3f} s were lost", note.reason,
                seconds_of(note.waited));
  } else if (!done.complete()) {
    log.warning("{}: {} of {} poolers did not drain in {:.3f} s, {} transactions are in flight there", note.reason,
                done.undrained, done.poolers, seconds_of(note.waited), done.active);
  } else {
    log.info("{}: {} poolers have drained in {:.3f} s", note.reason, done.poolers, seconds_of(note.waited));
  }
  tasks_.spawn(note_drain(std::move(note)));
  co_return attached() && !crashed_ && stop_requests_ == stops && (settings().pause || now() < drain_limit());
}

std::string Agent::Impl::why_not_stopped() const {
  if (crashed_) return "PostgreSQL has ended by itself";
  return stop_requests_ > 0 ? "the agent is told to stop" : "the lead is not proven";
}

// For the history and for operators; nothing waits for it.
Task<void> Agent::Impl::note_drain(DrainNote note) {
  const TimePoint deadline = within(kWriteMax);
  (void)co_await p.store.write_drain_note(std::move(note), deadline);
}

// The poolers may hand out again. Also for what an earlier agent of this node, or a write that came late, has left.
Task<void> Agent::Impl::end_drain() {
  if (!view()->drain || !attached()) co_return;
  if (crashed_) co_return;  // there is nothing to hand out yet: lead() comes to it when the server runs again
  const TimePoint deadline = within(kWriteMax);
  auto reply = co_await p.store.delete_drain(deadline);
  if (reply.outcome != dcs::WriteOutcome::Applied) (void)co_await p.store.refresh(deadline);
}

}  // namespace pgvigil::agent
