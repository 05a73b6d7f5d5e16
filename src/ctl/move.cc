#include <fmt/chrono.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "base/timestamp.h"
#include "ctl/verbs.h"
#include "dcs/member_json.h"

namespace pgvigil::ctl {
namespace {

void show(Context& context) { fmt::print("{}", cluster_table(*context.view(), context.config().scope, {})); }

std::string fine_now() {
  const auto now = std::chrono::system_clock::now();
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count() % 1'000'000;
  return fmt::format("{}.{:05}", now_text(), micros / 10);
}

std::string candidates_text(const ClusterView& view, const std::string& leader) {
  std::string text;
  for (const auto& member : view.members) {
    if (member.name.text() == leader || member.tags.nofailover) continue;
    text += (text.empty() ? "'" : ", '") + member.name.text() + "'";
  }
  return text;
}

void check_candidate(const ClusterView& view, const std::string& candidate, const std::string& leader,
                     const char* action) {
  if (candidate.empty()) return;
  if (candidate == leader) throw CommandError{fmt::format("Member {} is already the leader of the cluster", candidate)};
  const auto* member = view.member(MemberName(candidate));
  if (member == nullptr) {
    throw CommandError{fmt::format("Member {} does not exist in cluster or is tagged as nofailover", candidate)};
  }
  if (member->tags.nofailover && std::string(action) == "switchover") {
    throw CommandError{fmt::format("Member {} does not exist in cluster or is tagged as nofailover", candidate)};
  }
}

void order(Context& context, const Member& receiver, const char* action, const MoveOptions& options,
           const std::string& scheduled) {
  nlohmann::ordered_json body;
  if (!options.candidate.empty()) body["candidate"] = options.candidate;
  if (!options.leader.empty()) body["leader"] = options.leader;
  if (!scheduled.empty()) body["scheduled_at"] = scheduled;
  HttpReply reply;
  try {
    reply = context.call(receiver, "POST", std::string("/") + action, body.dump(), std::chrono::minutes(5));
    // Agents from before switchovers had an endpoint of their own.
    if (reply.status == 501) reply = context.call(receiver, "POST", "/failover", body.dump(), std::chrono::minutes(5));
  } catch (const CommandError& error) {
    fmt::print("Could not reach {}: {}. Writing the request to etcd instead.\n", receiver.name.text(), error.text);
    FailoverRequest request;
    request.leader = MemberName(options.leader);
    request.candidate = MemberName(options.candidate);
    request.scheduled_text = scheduled;
    request.scheduled_at = parse_instant(scheduled);
    context.write_failover(dcs::failover_to_json(request));
    return;
  }
  if (reply.status == 200 || reply.status == 202) {
    fmt::print("{} {}\n", fine_now(), reply.body);
    show(context);
    return;
  }
  const std::string name = std::string(action) == "switchover" ? "Switchover" : "Failover";
  fmt::print("{} failed, details: {}, {}\n", name, reply.status, reply.body);
}

}  // namespace

void switchover(Context& context, MoveOptions options) {
  const auto view = context.view();
  const auto* leader = view->leader_member();
  if (leader == nullptr) throw CommandError{"This cluster has no leader"};
  fmt::print("Current cluster topology\n{}", cluster_table(*view, context.config().scope, {}));
  const std::string current = leader->name.text();
  if (options.leader.empty())
    options.leader = options.force ? current : prompt(fmt::format("Primary [{}]", current), current);
  if (options.leader != current)
    throw CommandError{
        fmt::format("Member {} is not the leader of cluster {}", options.leader, context.config().scope)};
  const std::string names = candidates_text(*view, current);
  if (names.empty()) throw CommandError{"No candidates found to switchover to"};
  if (options.candidate.empty() && !options.force)
    options.candidate = prompt(fmt::format("Candidate [{}] []", names), "");
  check_candidate(*view, options.candidate, current, "switchover");
  if (options.scheduled.empty() && !options.force) {
    options.scheduled =
        prompt(fmt::format("When should the switchover take place (e.g. {} )  [now]", example_time()), "now");
  }
  const std::string scheduled = schedule_of(options.scheduled);
  if (!scheduled.empty() && is_paused(*view)) throw CommandError{"Can't schedule switchover in the paused state"};
  if (!options.force && !confirmed(fmt::format("Are you sure you want to {} cluster {}, demoting current leader {}?",
                                               scheduled.empty() ? "switchover" : "schedule switchover of",
                                               context.config().scope, current))) {
    throw CommandError{"Aborting switchover"};
  }
  order(context, *leader, "switchover", options, scheduled);
}

void failover(Context& context, MoveOptions options) {
  const auto view = context.view();
  fmt::print("Current cluster topology\n{}", cluster_table(*view, context.config().scope, {}));
  const auto* leader = view->leader_member();
  const std::string current = leader != nullptr ? leader->name.text() : "";
  if (options.candidate.empty() && !options.force) {
    options.candidate = prompt(fmt::format("Candidate [{}] []", candidates_text(*view, current)), "");
  }
  if (options.candidate.empty()) throw CommandError{"Failover could be performed only to a specific candidate"};
  check_candidate(*view, options.candidate, current, "failover");
  const auto& synchronous = view->sync.standbys;
  const bool asynchronous =
      !view->sync.leader.text().empty() && !synchronous.empty() &&
      std::find(synchronous.begin(), synchronous.end(), MemberName(options.candidate)) == synchronous.end();
  if (asynchronous && !options.force &&
      !confirmed(fmt::format("Are you sure you want to failover to the asynchronous node {}? Transactions that it has "
                             "not received would be lost.",
                             options.candidate))) {
    throw CommandError{"Aborting failover"};
  }
  if (!options.force &&
      !confirmed(fmt::format("Are you sure you want to failover cluster {}{}?", context.config().scope,
                             current.empty() ? "" : ", demoting current leader " + current))) {
    throw CommandError{"Aborting failover"};
  }
  const auto* receiver = leader != nullptr ? leader : view->member(MemberName(options.candidate));
  options.leader.clear();
  order(context, *receiver, "failover", options, {});
}

}  // namespace pgvigil::ctl
