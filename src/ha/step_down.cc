#include "ha/step_down.h"

#include <algorithm>

namespace pgvigil::ha {
namespace {

// The walsender through which `name` streams from this server, if it does.
const WalSender* sender_of(const Situation& at, const MemberName& name) {
  for (const auto& sender : at.instance.wal_senders) {
    if (sender.application_name == name.text()) return &sender;
  }
  return nullptr;
}

// A leader that still accepts writes hands over only to members that stream from it: everybody else cannot receive the
// shutdown checkpoint, and what was committed after they lost the connection would be lost. Members that stream from
// another replica are judged by their lag.
std::string streaming_obstacle(const Situation& at, const Member& member, const PeerReport& report) {
  if (!at.instance.running_as_primary()) return {};
  const auto* sender = sender_of(at, member.name);
  if (sender != nullptr) {
    return sender->state == "streaming" ? std::string()
                                        : fmt::format("is not streaming but in state {}", sender->state);
  }
  const bool cascades = !member.tags.replicatefrom.empty() && member.tags.replicatefrom != at.self.name.text();
  if (!cascades) return "is not streaming from this leader";
  return report.wal_end.known() ? std::string() : "does not say how far it has replicated";
}

std::string obstacle_of(const Situation& at, const Member& member, bool any_state) {
  if (member.tags.nofailover) return "has the tag nofailover";
  if (at.outside_failsafe(member.name)) return "is not in the failsafe list yet";
  if (member.api_url.empty()) return "publishes no REST address";
  if (at.sync_active() && !any_state && !at.in_sync_key(member.name)) return "is not synchronous";
  const auto* report = at.report_of(member.name);
  if (report == nullptr) return "does not answer at its REST address";
  if (report->tags.nofailover) return "has the tag nofailover";
  if (report->watchdog_failed) return "has no usable watchdog";
  if (auto obstacle = streaming_obstacle(at, member, *report); !obstacle.empty()) return obstacle;
  const Lsn here = std::max(at.instance.wal_end(), at.view.status.optime);
  const auto lag = here - report->wal_end;
  if (report->wal_end < here && lag > at.settings.maximum_lag_on_failover) {
    return fmt::format("lags {} bytes, more than maximum_lag_on_failover", static_cast<std::int64_t>(lag));
  }
  if (at.settings.check_timeline && report->timeline < at.view.timeline()) {
    return fmt::format("is on timeline {}, the cluster on {}", report->timeline.value(), at.view.timeline().value());
  }
  return {};
}

std::string request_text(const FailoverRequest& request) {
  return fmt::format("{}{}", request.is_switchover() ? "switchover" : "failover",
                     request.candidate.empty() ? std::string() : " to " + request.candidate.text());
}

// How long after its time a scheduled request is still carried out.
bool is_stale(const Situation& at, const FailoverRequest& request) {
  return request.scheduled_at && at.self.wall - *request.scheduled_at > at.settings.loop_wait * 3 / 2;
}

}  // namespace

bool request_is_due(const Situation& at) {
  const auto& request = at.view.failover;
  return request && (!request->scheduled_at || *request->scheduled_at <= at.self.wall);
}

bool settings_want_failover_of_crashed(const Situation& at) {
  if (at.settings.primary_start_timeout == Duration::zero()) return true;
  return at.self.starting_since && at.now - *at.self.starting_since > at.settings.primary_start_timeout;
}

std::vector<Candidate> candidates(const Situation& at, const MemberName& asked_for, bool any_state) {
  std::vector<Candidate> found;
  for (const auto& member : at.view.members) {
    if (at.is_me(member.name)) continue;
    if (!asked_for.empty() && member.name != asked_for) continue;
    found.push_back({member.name, obstacle_of(at, member, any_state)});
  }
  return found;
}

bool somebody_can_take_over(const Situation& at, const MemberName& asked_for, bool any_state, std::string* obstacles) {
  const auto list = candidates(at, asked_for, any_state);
  std::string text;
  for (const auto& candidate : list) {
    if (candidate.obstacle.empty()) return true;
    text += fmt::format("{}{} {}", text.empty() ? "" : "; ", candidate.name.text(), candidate.obstacle);
  }
  if (list.empty()) text = asked_for.empty() ? "there is no other member" : asked_for.text() + " is no member";
  if (obstacles != nullptr) *obstacles = std::move(text);
  return false;
}

Answer step_down(const Situation& at) {
  const auto& request = at.view.failover;
  if (!request) return std::nullopt;
  const auto clear = [&request](std::string why) {
    return answer(Action::ClearFailover, "request_void",
                  fmt::format("the {} is not carried out: {}", request_text(*request), why));
  };
  if (request->scheduled_at && at.paused()) return std::nullopt;
  if (is_stale(at, *request)) return clear("its scheduled time has passed by more than 1.5 loop_wait");
  if (!request_is_due(at)) return std::nullopt;
  if (request->is_switchover() && !at.is_me(request->leader)) {
    return clear(fmt::format("it names {} as leader, which does not lead", request->leader.text()));
  }
  if (at.is_me(request->candidate)) return clear("the candidate leads already");
  if (at.paused() && request->candidate.empty()) return clear("the cluster is paused and no candidate is named");
  if (!at.self.peers_asked)
    return answer(Action::None, "wait_request", "asking the other members before stepping down");
  std::string obstacles;
  if (!somebody_can_take_over(at, request->candidate, !request->is_switchover(), &obstacles)) return clear(obstacles);
  return answer(Action::Handover, request->is_switchover() ? "switchover" : "failover",
                fmt::format("stepping down for the {}", request_text(*request)), request->candidate);
}

}  // namespace pgvigil::ha
