// What is kept up while nothing changes: a leader's status, history and slots, a replica's slots.
#include <fmt/ranges.h>

#include <algorithm>

#include "agent/impl.h"
#include "config/changes.h"
#include "dcs/member_json.h"
#include "model/slot_name.h"

namespace pgvigil::agent {
namespace {

constexpr std::size_t kConfigHistoryMax = 100;

// Members take the last line's timeline + 1 for the cluster's. Timelines that a promotion left out, because a leader
// that vanished may have begun them, count as left where ours goes on.
std::vector<postgres::TimelineSwitch> with_left_out(const std::vector<postgres::TimelineSwitch>& lines,
                                                    Timeline current) {
  std::vector<postgres::TimelineSwitch> all;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    all.push_back(lines[i]);
    const auto next = i + 1 < lines.size() ? lines[i + 1].timeline.value() : current.value();
    for (auto number = lines[i].timeline.value() + 1; number < next; ++number) {
      all.push_back({Timeline(number), lines[i].switch_point, "left out"});
    }
  }
  return all;
}

}  // namespace

Task<void> Agent::Impl::lead() {
  no_race_until_.reset();
  problem_.clear();
  initialize_is_mine_ = false;
  if (instance_.in_recovery) {  // of a standby cluster
    set_role(Role::StandbyLeader);
    MemberName remote;
    auto run = as_standby(remote);
    if (!running_as_ || running_as_->upstream != run.upstream) {
      running_as_ = run;
      const TimePoint deadline = dcs_deadline();
      auto changed = co_await p.postgres.reconfigure(std::move(run), deadline);
      if (!changed) running_as_.reset();
    }
  } else {
    set_role(Role::Leader);
    rewind_ = RewindStage::Settled;
    if (guarded_pid_ != instance_.postmaster_pid && !settings().pause) (void)arm_guard(instance_.postmaster_pid);
    // Also when the agent that promoted it did not live to see the checkpoint.
    const auto& control = instance_.control;
    if (control && control->timeline.known() && control->timeline < instance_.timeline && !checkpoint_pending_) {
      begin_checkpoint();
    }
  }
  if (!instance_.in_recovery) co_await keep_synchronous();
  if (stop_is_due()) co_return;
  // Only after the guard was armed: what is known of the server grows old while etcd is waited for, and an order may
  // restart it meanwhile.
  if (view()->drain && operation_ == Operation::None) co_await end_drain();
  if (stop_is_due()) co_return;
  co_await write_missing_config();
  if (stop_is_due()) co_return;
  co_await write_history();
  if (stop_is_due()) co_return;
  co_await write_config_history();
  if (stop_is_due()) co_return;
  const bool due = now() >= duties_at_;
  if (due) {
    duties_at_ = now() + settings().loop_wait;
    co_await write_status();
    if (!stop_is_due()) co_await write_failsafe();
    if (!instance_.in_recovery && !probing_ && now() >= probe_after_) tasks_.spawn(probe_disk());
  }
  if (stop_is_due()) co_return;
  co_await sync_slots();
}

// Every member remembers what it saw, so that a change which a leader did not live to write down is not forgotten.
void Agent::Impl::note_config_change(const std::string& before) {
  if (before.empty()) return;
  auto changes = config::changes_between(before, *view()->config);
  if (changes.empty()) return;
  log.info("the dynamic configuration has changed: {}", fmt::join(changes, "; "));
  config_changes_.push_back({view()->config_revision, iso8601(p.clock.wall()), std::move(changes)});
  if (config_changes_.size() > kConfigHistoryMax) config_changes_.erase(config_changes_.begin());
}

Task<void> Agent::Impl::write_config_history() {
  std::vector<ConfigChange> history = view()->config_history;
  const Revision written = history.empty() ? Revision() : history.back().revision;
  std::erase_if(config_changes_, [&](const ConfigChange& change) { return change.revision <= written; });
  if (config_changes_.empty()) co_return;
  history.insert(history.end(), config_changes_.begin(), config_changes_.end());
  if (history.size() > kConfigHistoryMax) {
    history.erase(history.begin(), history.end() - static_cast<std::ptrdiff_t>(kConfigHistoryMax));
  }
  std::string json = dcs::config_history_to_json(history);
  const TimePoint deadline = dcs_deadline();
  (void)co_await p.store.write_config_history(std::move(json), deadline);
}

Task<void> Agent::Impl::write_missing_config() {
  if (view()->config) co_return;
  std::string json = p.node.cached_config();
  if (json.empty()) json = p.node.bootstrap_config();
  if (json.empty()) co_return;
  log.warning("the config key is missing: writing the last known dynamic configuration");
  const TimePoint deadline = dcs_deadline();
  auto reply = co_await p.store.write_config(std::move(json), Revision(), deadline);
  if (reply.outcome != dcs::WriteOutcome::Applied) (void)co_await p.store.refresh(deadline);
}

ClusterStatus Agent::Impl::status_value() const {
  ClusterStatus status;
  const ViewPtr seen = view();
  status.optime = std::max(instance_.wal_end(), instance_.flushed);
  if (!status.optime.known()) status.optime = seen->status.optime;
  const std::string mine = slot_name_of(p.node.name());
  for (const auto& slot : instance_.slots) {
    const Lsn position = slot.logical ? slot.confirmed_flush : slot.restart;
    if (!slot.temporary && position.known()) status.slots[slot.name] = position;
  }
  if (instance_.slots.empty()) status.slots = seen->status.slots;
  if (seen->settings.member_slots_ttl > Duration::zero()) status.slots[mine] = status.optime;
  const auto permanent = p.node.permanent_physical_slots();
  for (const auto& [name, at] : member_slots_) {
    if (permanent.count(name) == 0 && name != mine) status.retain_slots.push_back(name);
  }
  return status;
}

Task<void> Agent::Impl::write_status() {
  auto status = status_value();
  if (!status.optime.known() || status == view()->status) co_return;
  const TimePoint deadline = dcs_deadline();
  (void)co_await p.store.write_status(std::move(status), deadline);
}

// What the end of the timeline before cost, as far as it is known; to be added to the reason.
std::string Agent::Impl::loss_text(const HistoryEntry& left) const {
  const auto& crash = view()->crash;
  if (crash && crash->successor == p.node.name() && crash->end.timeline == left.timeline &&
      crash->end.end <= left.switch_point) {
    return fmt::format("; {} had died with {} bytes to replay and handed over, 0 bytes lost", crash->leader.text(),
                       static_cast<std::int64_t>(crash->end.to_replay()));
  }
  if (lacking_ <= WalBytes{0}) return {};
  return fmt::format("; the last leader was last seen {} bytes further", static_cast<std::int64_t>(lacking_));
}

// How the poolers drained before the handover that ended the timeline.
std::string Agent::Impl::drain_text(const HistoryEntry& left) const {
  const auto& note = view()->drained;
  if (!note || note->timeline != left.timeline) return {};
  std::string text = fmt::format("; {} of {} poolers had drained after {:.3f} s", note->poolers - note->undrained,
                                 note->poolers, seconds_of(note->waited));
  if (note->active > 0) text += fmt::format(", {} transactions were in flight", note->active);
  return text;
}

// The history key lists how each earlier timeline was left. It is written once for each promotion.
Task<void> Agent::Impl::write_history() {
  const Timeline timeline = instance_.timeline;
  if (instance_.in_recovery || !timeline.known() || history_checked_ == timeline) co_return;
  const ViewPtr seen = view();
  if (timeline == Timeline(1)) {
    history_checked_ = timeline;
    if (seen->history_text && seen->history.empty()) co_return;
    std::string none = "[]";
    const TimePoint deadline = dcs_deadline();
    auto reply = co_await p.store.write_history(std::move(none), deadline);
    if (reply.outcome != dcs::WriteOutcome::Applied) history_checked_ = Timeline();
    co_return;
  }
  const Timeline previous(timeline.value() - 1);
  if (!seen->history.empty() && seen->history.back().timeline == previous && !seen->history.back().new_leader.empty()) {
    history_checked_ = timeline;
    co_return;
  }
  const TimePoint look = within(std::chrono::seconds(3));
  auto lines = co_await p.postgres.local_history(timeline, look);
  if (!lines) {
    log.warning("{}", lines.error().message());
    co_return;
  }
  std::vector<HistoryEntry> entries;
  for (const auto& line : with_left_out(*lines, timeline)) {
    HistoryEntry entry{line.timeline, line.switch_point, line.reason, {}, {}};
    for (const auto& old : seen->history) {
      if (old.timeline == line.timeline && old.switch_point == line.switch_point) {
        entry.timestamp = old.timestamp;
        entry.new_leader = old.new_leader;
      }
    }
    entries.push_back(std::move(entry));
  }
  if (entries.empty()) co_return;
  if (entries.back().new_leader.empty()) {
    entries.back().timestamp = iso8601(p.clock.wall());
    entries.back().new_leader = p.node.name().text();
    entries.back().reason += loss_text(entries.back()) + drain_text(entries.back());
  }
  const std::size_t keep = seen->settings.max_timelines_history;
  if (keep > 0 && entries.size() > keep) {
    entries.erase(entries.begin(), entries.end() - static_cast<std::ptrdiff_t>(keep));
  }
  std::string json = dcs::history_to_json(entries);
  const TimePoint deadline = dcs_deadline();
  auto reply = co_await p.store.write_history(std::move(json), deadline);
  if (reply.outcome == dcs::WriteOutcome::Applied) history_checked_ = timeline;
}

// Slots of members that have left are kept for member_slots_ttl, so that a short absence costs no new copy. Replicas
// keep count too: when one of them takes over, the old leader's member key has already expired with its lease.
void Agent::Impl::note_member_slots() {
  const ViewPtr seen = view();
  const TimePoint at = now();
  for (const auto& name : seen->status.retain_slots) member_slots_.try_emplace(name, at);
  for (const auto& member : seen->members) {
    if (member.name != p.node.name()) member_slots_[slot_name_of(member.name)] = at;
  }
  const Duration ttl = seen->settings.member_slots_ttl;
  std::erase_if(member_slots_, [at, ttl](const auto& entry) { return at - entry.second > ttl; });
}

postgres::Postgres::SlotPlan Agent::Impl::slot_plan() {
  postgres::Postgres::SlotPlan plan;
  const ViewPtr seen = view();
  const auto& s = seen->settings;
  const MemberName me = p.node.name();
  const Tags mine = p.node.tags();
  const bool leads = seen->led_by(me);
  const bool keep_all = s.member_slots_ttl > Duration::zero();
  std::set<std::string> wanted;
  if (s.use_slots) {
    for (const auto& member : seen->members) {
      if (member.name == me) continue;
      const bool from_me = member.tags.replicatefrom == me.text();
      const bool from_leader = member.tags.replicatefrom.empty() || from_me ||
                               seen->member(MemberName(member.tags.replicatefrom)) == nullptr;
      const bool streams_here =
          !member.tags.nostream && (leads ? from_leader : (from_me && !seen->led_by(member.name)));
      if (streams_here || (keep_all && (leads || !mine.nofailover))) wanted.insert(slot_name_of(member.name));
    }
    if (leads && keep_all) {
      for (const auto& [name, at] : member_slots_) wanted.insert(name);
    } else if (keep_all && !mine.nofailover) {
      wanted.insert(seen->status.retain_slots.begin(), seen->status.retain_slots.end());
    }
  }
  if (leads || !mine.nofailover) {
    for (const auto& [name, here] : p.node.permanent_physical_slots()) {
      if (here) wanted.insert(name);
    }
  }
  wanted.erase(slot_name_of(me));
  plan.physical.assign(wanted.begin(), wanted.end());
  if (!leads) {
    for (const auto& [name, position] : seen->status.slots) {
      if (wanted.count(name) > 0) plan.advance[name] = position;
    }
  }
  plan.drop_others = !s.pause;
  return plan;
}

Task<void> Agent::Impl::sync_slots() {
  if (instance_.postmaster != PostmasterState::Running) co_return;
  auto plan = slot_plan();
  // The observation already lists the slots: nothing is asked of the server while they are as they should be.
  const auto exists = [this](const std::string& name) {
    return std::any_of(instance_.slots.begin(), instance_.slots.end(), [&](const auto& s) { return s.name == name; });
  };
  const bool missing = !std::all_of(plan.physical.begin(), plan.physical.end(), exists);
  const bool surplus =
      plan.drop_others && std::any_of(instance_.slots.begin(), instance_.slots.end(), [&](const auto& s) {
        return !s.temporary && !s.active &&
               std::find(plan.physical.begin(), plan.physical.end(), s.name) == plan.physical.end();
      });
  const bool behind = std::any_of(instance_.slots.begin(), instance_.slots.end(), [&](const auto& s) {
    const auto to = plan.advance.find(s.name);
    return to != plan.advance.end() && !s.active && s.restart < to->second;
  });
  if (!missing && !surplus && !behind) co_return;
  const TimePoint deadline = within(std::chrono::seconds(3));
  auto done = co_await p.postgres.sync_slots(std::move(plan), deadline);
  if (!done) log.warning("{}", done.error().message());
}

}  // namespace pgvigil::agent
