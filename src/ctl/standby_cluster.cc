// `demote-cluster` and `promote-cluster`: a whole cluster becomes the standby of another one, or a cluster of its own.
#include <nlohmann/json.hpp>
#include <thread>

#include "ctl/verbs.h"

namespace pgvigil::ctl {
namespace {

constexpr auto kSettlesWithin = std::chrono::minutes(5);

bool is_standby_cluster(const ClusterView& view) {
  const auto config = nlohmann::json::parse(view.config.value_or("{}"), nullptr, false);
  return config.is_object() && config.contains("standby_cluster") && config["standby_cluster"].is_object() &&
         !config["standby_cluster"].empty();
}

std::string state_of(const Member& member) {
  return fmt::format("{}: {}, {}", member.name.text(), to_string(member.role), to_string(member.state));
}

// Prints the state whenever it changes, until the leader has the role and whoever led before runs.
void wait_until(Context& context, Role role, const MemberName& before) {
  const auto until = std::chrono::steady_clock::now() + kSettlesWithin;
  std::string last;
  while (std::chrono::steady_clock::now() < until) {
    const auto view = context.view();
    std::string line;
    for (const auto& member : view->members) line += (line.empty() ? "" : "; ") + state_of(member);
    if (line != last) fmt::print("{} {}\n", now_text(), line);
    std::fflush(stdout);
    last = line;
    const auto* leader = view->leader_member();
    const auto* old = view->member(before);
    if (leader != nullptr && leader->role == role && leader->state == InstanceState::Running &&
        (old == nullptr || old->state == InstanceState::Running)) {
      return;
    }
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
  throw CommandError{
      fmt::format("the change was ordered, but the cluster has not settled within {} minutes; look at list",
                  kSettlesWithin.count())};
}

void change(Context& context, const nlohmann::ordered_json& standby, const std::string& verb, bool force, Role role) {
  const auto view = context.view();
  fmt::print("Current cluster topology\n{}", cluster_table(*view, context.config().scope, {}));
  const auto* leader = view->leader_member();
  if (leader == nullptr) throw CommandError{"This cluster has no leader"};
  const MemberName before = leader->name;
  if (is_standby_cluster(*view) != standby.is_null()) throw CommandError{"Cluster is already in the required state"};
  if (!force && !confirmed(fmt::format("Are you sure you want to {} {} cluster?", verb, context.config().scope)))
    throw CommandError{"Aborted " + verb};
  const auto reply = context.call_any(*view, "PATCH", "/config", nlohmann::json{{"standby_cluster", standby}}.dump());
  if (reply.status != 200) {
    throw CommandError{fmt::format("Failed to {} {} cluster: status code={}, ({})", verb, context.config().scope,
                                   reply.status, reply.body)};
  }
  wait_until(context, role, before);
}

}  // namespace

void demote_cluster(Context& context, const DemoteOptions& options) {
  nlohmann::ordered_json standby = nlohmann::ordered_json::object();
  if (!options.host.empty()) standby["host"] = options.host;
  if (options.port != 0) standby["port"] = options.port;
  if (!options.restore_command.empty()) standby["restore_command"] = options.restore_command;
  if (standby.empty()) throw CommandError{"At least --host, --port or --restore-command should be specified"};
  if (!options.primary_slot_name.empty()) standby["primary_slot_name"] = options.primary_slot_name;
  change(context, standby, "demote", options.force, Role::StandbyLeader);
}

void promote_cluster(Context& context, bool force) { change(context, nullptr, "promote", force, Role::Leader); }

}  // namespace pgvigil::ctl
