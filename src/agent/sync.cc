// Synchronous replication: carries ha::next_sync_step out, one step after the other, each on what the one before left.
#include "agent/impl.h"
#include "dcs/member_json.h"

namespace pgvigil::agent {
namespace {

// From the change of synchronous_standby_names until every process of the server obeys it. They are told by a signal,
// and nothing that can be asked says when the checkpointer, on whose word commits wait at all, has read it.
constexpr Duration kSettle = std::chrono::seconds(2);
constexpr unsigned kStepsMax = 6;
constexpr Duration kLookAgain = std::chrono::milliseconds(500);

}  // namespace

// What was written before the names in force had settled lies below the sample: a standby that has reached it has all
// commits that did not wait for it.
void Agent::Impl::note_sync_sample() {
  if (!instance_.running_as_primary()) {
    sync_since_.reset();
    sync_sample_ = Lsn();
    return;
  }
  if (!sync_since_ || sync_in_force_ != instance_.synchronous_standby_names) {
    sync_since_ = now();
    sync_in_force_ = instance_.synchronous_standby_names;
    sync_sample_ = Lsn();
  }
  if (!sync_sample_.known() && instance_.observed >= *sync_since_ + kSettle) sync_sample_ = instance_.flushed;
}

Task<bool> Agent::Impl::set_sync_names(std::optional<ha::SyncNames> names, bool standby) {
  postgres::RunAs run;
  if (standby) {
    MemberName nobody;
    run = running_as_ ? *running_as_ : as_standby(nobody);
  }
  run.synchronous_standby_names = names ? std::optional<std::string>(ha::to_text(*names)) : std::nullopt;
  postgres::RunAs copy = run;
  const TimePoint deadline = within(settings().retry_timeout);
  auto done = co_await p.postgres.reconfigure(std::move(copy), deadline);
  if (!done) {
    log.warning("{}", done.error().message());
    co_return false;
  }
  if (standby) running_as_ = std::move(run);
  co_return true;
}

// A write whose reply was lost may come at any later time, and the setting may have moved on by then. A write of our
// own over it moves the key's revision on, so that the late one compares in vain.
Task<bool> Agent::Impl::write_sync_key(SyncKey key, bool remove) {
  const TimePoint deadline = dcs_deadline();
  const Revision seen = view()->sync.mod_revision;
  dcs::TxnReply reply;
  if (remove) {
    reply = co_await p.store.delete_sync(seen, deadline);
  } else {
    std::string json = dcs::sync_to_json(key);
    reply = co_await p.store.write_sync(std::move(json), seen, deadline);
  }
  if (reply.outcome == dcs::WriteOutcome::Applied) {
    sync_doubtful_ = false;
    co_return true;
  }
  sync_doubtful_ = sync_doubtful_ || reply.outcome == dcs::WriteOutcome::Unknown;
  (void)co_await p.store.refresh(deadline);
  co_return false;
}

Task<void> Agent::Impl::keep_synchronous() {
  for (unsigned i = 0; i < kStepsMax && attached() && !stop_is_due() && instance_.running_as_primary(); ++i) {
    if (sync_doubtful_) {
      SyncKey same = view()->sync;
      if (!co_await write_sync_key(same, false)) break;
      continue;
    }
    note_sync_sample();
    const LocalState self = local_state();
    auto step = options.sync_step(*view(), self);
    switch (step.kind) {
      case ha::SyncStep::Kind::None: co_return;
      case ha::SyncStep::Kind::Wait: next_step_by_ = std::min(next_step_by_, now() + kLookAgain); co_return;
      case ha::SyncStep::Kind::DeleteKey:
        log.info("synchronous replication is off");
        if (!co_await write_sync_key(SyncKey(), true)) co_return;
        break;
      case ha::SyncStep::Kind::WriteKey:
        if (!co_await write_sync_key(step.key, false)) co_return;
        log.info("synchronous with {}: {}", p.node.name().text(), dcs::sync_to_json(step.key));
        break;
      case ha::SyncStep::Kind::SetNames: {
        const std::string before = instance_.synchronous_standby_names;
        if (!step.names && (before.empty() || sync_released_)) co_return;
        const std::string text = step.names ? ha::to_text(*step.names) : std::string();
        if (!co_await set_sync_names(step.names, false)) co_return;
        sync_released_ = !step.names;
        log.info("synchronous_standby_names '{}' (was '{}')", text, before);
        sync_since_ = now();
        sync_sample_ = Lsn();
        if (step.names) sync_in_force_ = instance_.synchronous_standby_names = text;
        break;
      }
    }
  }
  next_step_by_ = std::min(next_step_by_, now() + kLookAgain);
}

// Before the promotion: the key says who may lead after this member, and the setting binds its first commit.
Task<bool> Agent::Impl::prepare_synchronous() {
  const LocalState self = local_state();
  const auto takeover = ha::sync_takeover(*view(), self);
  if ((takeover.key || takeover.delete_key || sync_doubtful_)) {
    SyncKey key = takeover.key ? *takeover.key : view()->sync;
    if (!co_await write_sync_key(key, takeover.delete_key)) {
      log.warning("not promoted yet: the sync key could not be taken over");
      co_return false;
    }
  }
  if (!takeover.names && (!running_as_ || !running_as_->synchronous_standby_names)) co_return true;
  if (!co_await set_sync_names(takeover.names, true)) co_return false;
  sync_in_force_ = takeover.names ? std::optional<std::string>(ha::to_text(*takeover.names)) : std::nullopt;
  sync_released_ = false;
  co_return true;
}

// With what a primary is started in place: what was in force when it ended, else the least that fits the key.
std::optional<std::string> Agent::Impl::sync_names_to_start_with() const {
  const ViewPtr seen = view();
  if (seen->settings.synchronous_mode == SyncMode::Off || seen->settings.standby_cluster) return std::nullopt;
  if (sync_in_force_ && seen->sync.leader == p.node.name()) return sync_in_force_;
  const auto names = ha::sync_names_at_start(*seen, p.node.name());
  return names ? std::optional<std::string>(ha::to_text(*names)) : std::nullopt;
}

}  // namespace pgvigil::agent
