// The leader's PostgreSQL has died: what was found out, and the handover to a member that holds all of its WAL.
#include "agent/impl.h"

namespace pgvigil::agent {
namespace {

// Reading takes a second a gigabyte; whatever takes longer is not quicker than crash recovery.
constexpr Duration kScanMax = std::chrono::seconds(5);

}  // namespace

// A leader that fails for the third time within a minute is no good leader, whatever the reason: a full disk, bad
// memory, a broken configuration. The pause doubles while it goes on.
void Agent::Impl::note_failure() {
  constexpr Duration kSpan = std::chrono::minutes(1), kPauseMax = std::chrono::minutes(10);
  constexpr std::size_t kTooMany = 3;
  if (role_ != Role::Leader && role_ != Role::Promoted) return;
  failures_.push_back(now());
  while (failures_.front() + kSpan < now()) failures_.pop_front();
  if (failures_.size() < kTooMany) return;
  const bool again = failed_leader_until_ && now() < *failed_leader_until_ + kPauseMax;
  failed_pause_ = again ? std::min(failed_pause_ * 2, kPauseMax) : kSpan;
  failed_leader_until_ = now() + failed_pause_;
  failures_.clear();
  log.error("PostgreSQL has failed {} times within a minute: this member does not race for the lead for {:.0f} s",
            kTooMany, seconds_of(failed_pause_));
}

// A disk that hangs lets reads and the agent go on: only a write tells. Half of ttl is longer than any cache flush of a
// disk that works, and short enough to be of use.
Task<void> Agent::Impl::probe_disk() {
  probing_ = true;
  const TimePoint deadline = now() + settings().ttl / 2;
  auto done = co_await p.postgres.probe_writes(deadline);
  probing_ = false;
  disk_fails_ = !done && done.error().code != Errc::Timeout;
  if (writes_stuck_ == !done) co_return;
  writes_stuck_ = !done;
  if (!done) {
    log.error("{}", done.error().message());
  } else {
    log.info("the disk takes writes again");
  }
  wake();
}

Task<void> Agent::Impl::find_wal_end() {
  const TimePoint deadline = within(kScanMax);
  auto found = co_await p.postgres.find_wal_end(deadline);
  wal_end_sought_ = true;
  if (!found) {
    log.warning("{}; PostgreSQL is started in place", found.error().message());
    co_return;
  }
  wal_end_ = *found;
}

// For the history and for operators. Of no weight for what follows, so nothing waits for it to succeed.
Task<void> Agent::Impl::note_crash(WalEnd end, MemberName successor, std::string reason) {
  CrashNote note;
  note.leader = p.node.name();
  note.successor = std::move(successor);
  note.end = end;
  note.timestamp = iso8601(p.clock.wall());
  note.reason = std::move(reason);
  const TimePoint deadline = within(std::chrono::seconds(1));
  (void)co_await p.store.write_crash(std::move(note), deadline);
}

Task<bool> Agent::Impl::holds_all(MemberName member, WalEnd end) {
  const auto seen = view();
  const auto* known = seen->member(member);
  const TimePoint deadline = within(std::chrono::seconds(1));
  while (known != nullptr && now() < deadline) {
    MemberName name = member;
    std::string url = known->api_url;
    auto report = co_await p.peers.ask(std::move(name), std::move(url), deadline);
    if (report && report->timeline == end.timeline && report->wal_end >= end.end) co_return true;
    co_await sleep_for(p.clock, std::chrono::milliseconds(20));
  }
  co_return false;
}

// The position in the status key is the end of our WAL and the request names the successor: others, who hold less,
// leave the lead to it.
Task<void> Agent::Impl::hand_over_crashed(MemberName successor, std::string reason) {
  if (!lead_is_fresh()) co_return;
  if (instance_.running_as_primary()) {  // on a disk that takes no writes
    co_await look();
    const auto redo = instance_.control ? instance_.control->redo : instance_.flushed;
    wal_end_ = WalEnd{instance_.timeline, redo, instance_.flushed};
    p.postgres.kill_now();
    // More may have been flushed since the member was asked.
    if (!co_await holds_all(successor, *wal_end_)) {
      log.error("{} lacks something after all: PostgreSQL is started in place", successor.text());
      wal_end_.reset();
      co_return;
    }
  }
  if (!wal_end_) co_return;
  const WalEnd end = *wal_end_;
  FailoverRequest request;
  request.leader = p.node.name();
  request.candidate = successor;
  MemberName name = successor;
  co_await note_crash(end, std::move(name), std::move(reason));
  const bool released = co_await give_up_lead(end.end, request);
  if (!released && !lead_doubtful_) co_return;
  if (writes_stuck_) no_race_until_ = now() + settings().ttl;
  log.info("gave the leader key up to {}", successor.text());
  running_as_.reset();
  rewind_ = RewindStage::Due;
  if (instance_.postmaster == PostmasterState::Stopped) disarm_guard();
  p.postgres.run_callback("on_role_change", "replica");
}

}  // namespace pgvigil::agent
