// Failsafe mode, Patroni's protocol: a leader that cannot reach etcd goes on while every member of the cluster answers
// it, since each promises with its answer not to take the lead for a ttl. The answers extend the leader's right exactly
// as a renewal of the lease does: from the moment at which the questions were sent.
#include <algorithm>

#include "agent/impl.h"
#include "dcs/member_json.h"

namespace pgvigil::agent {
namespace {

constexpr Duration kRoundMin = std::chrono::milliseconds(300);
constexpr Duration kRoundMax = std::chrono::seconds(2);

}  // namespace

struct Agent::Impl::FailsafeRound {
  explicit FailsafeRound(Clock& clock) : done(clock) {}
  std::size_t open = 0;
  bool refused = false;
  Signal done;
};

// Until when the members' answers keep others from leading; empty: they do not.
std::optional<TimePoint> Agent::Impl::failsafe_until() const {
  if (!failsafe_sent_) return std::nullopt;
  const auto seen = view();
  if (seen->leader && !seen->led_by(p.node.name())) return std::nullopt;
  const TimePoint until = ha::deadline_of(*failsafe_sent_ + failsafe_ttl_, failsafe_ttl_);
  return now() < until ? std::optional<TimePoint>(until) : std::nullopt;
}

bool Agent::Impl::failsafe_applies() const {
  const auto seen = view();
  const auto& s = seen->settings;
  if (!s.failsafe_mode || s.pause || s.standby_cluster || stopping_ || stop_requests_ > 0) return false;
  if (role_ != Role::Leader || guarded_pid_ == 0 || operation_ != Operation::None) return false;
  // A right that has ended is not revived: somebody may have been asked nothing, and lead.
  const auto until = leader_until();
  if (!until || now() >= *until) return false;
  return seen->led_by(p.node.name()) || failsafe_until().has_value();
}

Task<void> Agent::Impl::ask_failsafe(std::shared_ptr<FailsafeRound> round, std::string url, std::string body,
                                     TimePoint deadline) {
  auto accepted = co_await p.peers.post_failsafe(std::move(url), std::move(body), deadline);
  if (!accepted || !*accepted) round->refused = true;
  if (--round->open == 0) round->done.notify();
}

// Every name in the stored map counts, also a dead one: it may only be cut off from us.
Task<void> Agent::Impl::failsafe_round() {
  if (!failsafe_applies() || failsafe_busy_) co_return;
  auto members = view()->failsafe;
  members.insert(failsafe_written_.begin(), failsafe_written_.end());
  const std::string me = p.node.name().text();
  if (members.count(me) == 0) co_return;
  members.erase(me);
  const Duration ttl = settings().ttl;
  const TimePoint sent = now();
  const TimePoint deadline = sent + std::clamp<Duration>(ttl / 6, kRoundMin, kRoundMax);
  const std::string body = dcs::failsafe_ping_to_json(p.node.name(), p.node.conn_url(), p.node.api_url(), ttl);
  failsafe_busy_ = true;
  const auto round = std::make_shared<FailsafeRound>(p.clock);
  round->open = members.size();
  for (const auto& [name, url] : members) tasks_.spawn(ask_failsafe(round, url, body, deadline));
  while (round->open > 0 && !round->refused && now() < deadline) {
    if (!co_await round->done.wait_until(deadline)) break;
  }
  failsafe_busy_ = false;
  if (round->open > 0 || round->refused || !failsafe_applies()) co_return;
  if (!failsafe_until()) log.warning("etcd is away; every member answers: going on as the leader in failsafe mode");
  failsafe_sent_ = sent;
  failsafe_ttl_ = ttl;
  (void)arm_guard(guarded_pid_);
  publish_status();
}

// The map of those who have to answer. Written by the leader alone; until a write is known to have been applied the
// members of both count.
Task<void> Agent::Impl::write_failsafe() {
  const ViewPtr seen = view();
  if (!seen->settings.failsafe_mode || seen->settings.standby_cluster) co_return;
  std::map<std::string, std::string> members;
  for (const auto& member : seen->members) {
    if (!member.api_url.empty()) members[member.name.text()] = member.api_url;
  }
  members[p.node.name().text()] = p.node.api_url();
  if (seen->failsafe_present && members == seen->failsafe && failsafe_written_.empty()) co_return;
  std::string json = dcs::failsafe_to_json(members);
  failsafe_written_.insert(members.begin(), members.end());
  const TimePoint deadline = dcs_deadline();
  auto reply = co_await p.store.write_failsafe(std::move(json), deadline);
  if (reply.outcome == dcs::WriteOutcome::Applied) failsafe_written_.clear();
}

// The answer of a member: a promise not to take the lead for a ttl from now, by our clock and by the larger of both
// settings, since one of us may not have heard of a change.
Commands::FailsafeReply Agent::Impl::failsafe_ping(const std::string& name, std::optional<Duration> ttl) {
  const auto seen = view();
  if (!seen->settings.failsafe_mode) return {502, "failsafe mode is not in force", Lsn()};
  const bool leads = seen->led_by(p.node.name()) || acquiring_ || role_ == Role::Leader || role_ == Role::Promoted ||
                     role_ == Role::StandbyLeader || instance_.running_as_primary() || operation_ == Operation::Promote;
  if (leads) return {500, "Running as a leader", Lsn()};
  const TimePoint until = now() + std::max(seen->settings.ttl, ttl.value_or(Duration::zero()));
  if (!promised_until_ || *promised_until_ <= now()) {
    log.info("{} cannot reach etcd and leads on: not racing for the lead meanwhile", name);
  }
  promised_until_ = std::max(until, promised_until_.value_or(until));
  wake();
  return {200, "Accepted", instance_.wal_end()};
}

// An agent that was restarted may have promised something: that ends a ttl after its start at the latest.
std::optional<TimePoint> Agent::Impl::promised_until() const {
  auto until = promised_until_;
  const auto seen = view();
  if (seen->settings.failsafe_mode && seen->failsafe.size() > 1) {
    const TimePoint restarted = started_ + seen->settings.ttl;
    until = std::max(until.value_or(restarted), restarted);
  }
  return until && now() < *until ? until : std::nullopt;
}

}  // namespace pgvigil::agent
