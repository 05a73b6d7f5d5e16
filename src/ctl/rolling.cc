// `restart --rolling`: every member, one after the other, while somebody accepts writes. Replicas first, then the lead
// goes to one that is fresh, then the old leader. It stops at the first failure.
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "ctl/member_report.h"
#include "ctl/rolling.h"
#include "ctl/verbs.h"

namespace pgvigil::ctl {
namespace {

constexpr Duration kFollowMax = std::chrono::minutes(10);
constexpr Duration kReplayMax = std::chrono::minutes(1);
constexpr Duration kRestartMax = std::chrono::minutes(15);

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
  return text.empty() ? "none" : text;
}

class Rolling {
 public:
  Rolling(Context& context, const MemberOptions& options) : context_(context), options_(options) {}

  void run() {
    const auto view = context_.view();
    const auto& scope = context_.config().scope;
    fmt::print("{}", cluster_table(*view, scope, {}));
    if (view->leader_member() == nullptr) throw CommandError{"This cluster has no leader"};
    if (is_paused(*view)) {
      throw CommandError{"The cluster is paused, so nothing would be started again by itself: resume it first"};
    }
    auto plan = plan_rolling(*view, options_.pending);
    if (plan.replicas.empty() && !plan.leader) {
      fmt::print("No members wait for a restart\n");
      return;
    }
    const std::string leader = view->leader->name.text();
    if (!options_.force &&
        !confirmed(fmt::format("Restart {}{}?", plan.replicas.empty() ? "no replica" : joined(plan.replicas),
                               plan.leader ? ", then the leader " + leader : ""))) {
      throw CommandError{"Aborted restart"};
    }
    left_ = plan.replicas;
    if (plan.leader) left_.push_back(leader);
    steps_ = left_.size();
    try {
      for (const auto& name : plan.replicas) replica(name);
      if (plan.leader) move_and_restart(leader);
      settle();
    } catch (const CommandError& error) {
      throw CommandError{fmt::format(
          "the rolling restart has stopped: {}. Restarted: {}; not restarted: {}. When that is mended, go on with: "
          "pgvigil restart {} --rolling{}",
          error.text, joined(done_), joined(left_), scope, options_.pending ? " --pending" : "")};
    }
    fmt::print("Success: rolling restart of {}: {}\n", scope, joined(done_));
  }

 private:
  void say(const std::string& text) const {
    fmt::print("{} [{}/{}] {}\n", now_text(), std::min(done_.size() + 1, steps_), steps_, text);
    std::fflush(stdout);
  }
  void finished(const std::string& name) {
    done_.push_back(name);
    std::erase(left_, name);
  }

  void order_restart(const std::string& name) {
    nlohmann::ordered_json body = nlohmann::ordered_json::object();
    if (!options_.timeout.empty()) body["timeout"] = options_.timeout;
    const auto view = context_.view();
    const auto* member = view->member(MemberName(name));
    if (member == nullptr) throw CommandError{name + " is not a member of the cluster any more"};
    const auto reply = context_.call(*member, "POST", "/restart", body.dump(), kRestartMax);
    if (reply.status != 200) {
      throw CommandError{fmt::format("{} was not restarted: status {}, {}", name, reply.status, reply.body)};
    }
  }

  void follows(const std::string& name) {
    if (!wait_until_it_follows(context_, name, kFollowMax)) {
      throw CommandError{
          fmt::format("{} does not stream from the leader after {:.0f} s: see its log", name, seconds_of(kFollowMax))};
    }
  }

  void replica(const std::string& name) {
    const auto began = std::chrono::steady_clock::now();
    say(name + ": restarting");
    order_restart(name);
    follows(name);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    say(fmt::format("{}: streams again and has caught up, after {:.1f} s", name, took.count()));
    finished(name);
  }

  void leader_in_place(const std::string& name, const std::string& why) {
    say(fmt::format("{}: restarting in place, {}", name, why));
    order_restart(name);
    if (!wait_for(kFollowMax, [&] { return report_of(context_, leader_name(context_)).runs_as_primary(); })) {
      throw CommandError{"nobody accepts writes after the restart of " + name};
    }
    say(name + ": restarted");
  }

  void move_and_restart(const std::string& old) {
    const auto before = report_of(context_, old);
    const std::string successor = successor_of(*context_.view(), before.streaming, done_);
    if (successor.empty()) {
      leader_in_place(old, "since no replica could take the lead over");
      finished(old);
      return;
    }
    say(fmt::format("{}: handing the lead over to {}", old, successor));
    change_leader(context_, "switchover", old, successor);
    say(fmt::format("{} leads", successor));
    follows(old);
    const auto after = report_of(context_, old);
    if (after.postmaster_start_time == before.postmaster_start_time) {
      replica(old);
      return;
    }
    say(old + ": was restarted by the switchover, streams and has caught up");
    finished(old);
  }

  // A standby cannot run with less than the primary's of some parameters (max_connections and such), so one that is to
  // become smaller takes the leader first and the replicas once more.
  void settle() {
    const std::string leader = leader_name(context_);
    if (report_of(context_, leader).pending_restart) {
      leader_in_place(leader, "since it still waits for one: a parameter has become smaller");
    }
    for (const auto& member : context_.view()->members) {
      const std::string& name = member.name.text();
      if (name == leader || !report_of(context_, name).pending_restart) continue;
      // It may run with less only once it has replayed that its primary does.
      follows(name);
      const Lsn change = report_of(context_, leader).position;
      (void)wait_for(kReplayMax, [&] { return report_of(context_, name).replayed >= change; });
      say(name + ": restarting once more, after the leader");
      order_restart(name);
      follows(name);
    }
  }

  Context& context_;
  const MemberOptions& options_;
  std::vector<std::string> done_, left_;
  std::size_t steps_ = 0;
};

}  // namespace

RollingPlan plan_rolling(const ClusterView& view, bool only_pending) {
  RollingPlan plan;
  for (const auto& member : view.members) {
    if (only_pending && !member.pending_restart_flag) continue;
    if (view.led_by(member.name)) {
      plan.leader = true;
    } else {
      plan.replicas.push_back(member.name.text());
    }
  }
  return plan;
}

std::string successor_of(const ClusterView& view, const std::vector<std::string>& streaming,
                         const std::vector<std::string>& fresh) {
  const auto listed = [](const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  const bool sync = !view.sync.leader.empty();
  std::string chosen;
  for (const auto& member : view.members) {
    const std::string& name = member.name.text();
    if (view.led_by(member.name) || member.tags.nofailover || !listed(streaming, name)) continue;
    const auto& standbys = view.sync.standbys;
    if (sync && std::find(standbys.begin(), standbys.end(), member.name) == standbys.end()) continue;
    if (listed(fresh, name)) return name;
    if (chosen.empty()) chosen = name;
  }
  return chosen;
}

void rolling_restart(Context& context, const MemberOptions& options) {
  if (!options.members.empty() || options.any || !options.scheduled.empty() || !options.pg_version.empty() ||
      options.role != "any") {
    throw CommandError{"--rolling restarts the whole cluster, now; it goes with --pending, --timeout and --force only"};
  }
  Rolling(context, options).run();
}

}  // namespace pgvigil::ctl
