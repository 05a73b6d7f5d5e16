#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "ctl/verbs.h"

namespace pgvigil::ctl {
namespace {

std::string names_of(const std::vector<const Member*>& members) {
  std::string text;
  for (const auto* member : members) text += (text.empty() ? "" : ", ") + member->name.text();
  return text;
}

void show(Context& context, const ClusterView& view) {
  fmt::print("{}", cluster_table(view, context.config().scope, {}));
}

void report(const HttpReply& reply, const char* action, const Member& member) {
  if (reply.status == 200) {
    fmt::print("Success: {} on member {}\n", action, member.name.text());
  } else {
    fmt::print("Failed: {} for member {}, status code={}, ({})\n", action, member.name.text(), reply.status,
               reply.body);
  }
}

}  // namespace

void restart(Context& context, MemberOptions options) {
  if (options.rolling) return rolling_restart(context, options);
  const auto view = context.view();
  show(context, *view);
  auto members = select(*view, options.role, options.members);
  if (options.any) {
    std::mt19937 random(std::random_device{}());
    members = {members[random() % members.size()]};
  }
  if (options.pending && options.scheduled.empty()) {
    std::erase_if(members, [](const Member* m) { return !m->pending_restart_flag; });
  }
  if (members.empty()) {
    fmt::print("No members wait for a restart\n");
    return;
  }
  if (!options.force && options.scheduled.empty())
    options.scheduled =
        prompt(fmt::format("When should the restart take place (e.g. {})  [now]", example_time()), "now");
  const std::string schedule = schedule_of(options.scheduled);
  if (!schedule.empty() && is_paused(*view)) throw CommandError{"Can't schedule restart in the paused state"};
  if (!options.force && !confirmed(fmt::format("Are you sure you want to restart members {}?", names_of(members)))) {
    throw CommandError{"Aborted restart"};
  }
  if (!options.force && options.pg_version.empty())
    options.pg_version = prompt("Restart if the PostgreSQL version is less than provided (e.g. 9.5.2)  []", "");
  nlohmann::ordered_json body = nlohmann::ordered_json::object();
  const bool scheduled = !schedule.empty();
  if (scheduled) body["schedule"] = schedule;
  if (options.pending) body["restart_pending"] = true;
  if (!options.pg_version.empty()) body["postgres_version"] = options.pg_version;
  if (!options.timeout.empty()) body["timeout"] = options.timeout;
  for (const auto* member : members) {
    if (scheduled && options.force) (void)context.call(*member, "DELETE", "/restart");
    const auto reply = context.call(*member, "POST", "/restart", body.dump(), std::chrono::minutes(15));
    if (reply.status == 202) {
      fmt::print("Success: restart scheduled on member {}\n", member->name.text());
    } else if (reply.status == 409) {
      fmt::print("Failed: another restart is already scheduled on member {}\n", member->name.text());
    } else {
      report(reply, "restart", *member);
    }
  }
}

void reload(Context& context, const MemberOptions& options) {
  const auto view = context.view();
  show(context, *view);
  const auto members = select(*view, options.role, options.members);
  if (!options.force && !confirmed(fmt::format("Are you sure you want to reload members {}?", names_of(members)))) {
    throw CommandError{"Aborted reload"};
  }
  const auto config = nlohmann::json::parse(view->config.value_or("{}"), nullptr, false);
  const int loop_wait = config.is_object() && config.contains("loop_wait") && config["loop_wait"].is_number()
                            ? config["loop_wait"].get<int>()
                            : 10;
  for (const auto* member : members) {
    const auto reply = context.call(*member, "POST", "/reload", "{}");
    if (reply.status == 202) {
      fmt::print("Reload request received for member {} and will be processed within {} seconds\n", member->name.text(),
                 loop_wait);
    } else {
      report(reply, "reload", *member);
    }
  }
}

void reinit(Context& context, const MemberOptions& options) {
  const auto view = context.view();
  show(context, *view);
  std::vector<std::string> names = options.members;
  if (names.empty()) names.push_back(prompt("Which member do you want to reinitialize", ""));
  const auto members = select(*view, "replica", names);
  if (!options.force &&
      !confirmed(fmt::format("Are you sure you want to reinitialize members {}?", names_of(members)))) {
    throw CommandError{"Aborted reinitialize"};
  }
  for (const auto* member : members) {
    nlohmann::ordered_json body{{"force", options.force}, {"from_leader", options.from_leader}};
    auto reply = context.call(*member, "POST", "/reinitialize", body.dump());
    // The member says so when it is busy with something else.
    const bool busy = reply.status == 503 && reply.body.find(" already in progress") != std::string::npos;
    if (busy && !options.force &&
        confirmed(fmt::format("{}. Do you want to cancel it and reinitialize anyway?", reply.body))) {
      body["force"] = true;
      reply = context.call(*member, "POST", "/reinitialize", body.dump());
    }
    if (reply.status == 200) {
      fmt::print("Success: reinitialize for member {}\n", member->name.text());
    } else {
      report(reply, "reinitialize", *member);
      continue;
    }
    while (options.wait) {
      std::this_thread::sleep_for(std::chrono::seconds(2));
      const auto state = context.call(*member, "GET", "/patroni").body;
      if (state.find("\"creating replica\"") == std::string::npos) {
        fmt::print("Reinitialize is completed on: {}\n", member->name.text());
        break;
      }
    }
  }
}

void flush(Context& context, const MemberOptions& options, const std::string& what) {
  const auto view = context.view();
  if (what == "switchover") {
    HttpReply reply;
    try {
      reply = context.call_any(*view, "DELETE", "/switchover", {});
    } catch (const CommandError& error) {
      if (!view->failover || !view->failover->scheduled_at) {
        fmt::print("No pending scheduled switchover\n");
        return;
      }
      fmt::print("{}. Clearing the request in etcd instead.\n", error.text);
      context.write_failover("{}");
      fmt::print("Success: scheduled switchover deleted\n");
      return;
    }
    if (reply.status == 200) {
      fmt::print("Success: {}\n", reply.body);
    } else if (reply.status == 404) {
      fmt::print("No pending scheduled switchover\n");
    } else {
      fmt::print("Failed: {}, ({})\n", reply.status, reply.body);
    }
    return;
  }
  if (what != "restart") throw CommandError{"flush what? use restart or switchover"};
  for (const auto* member : select(*view, options.role, options.members)) {
    const auto reply = context.call(*member, "DELETE", "/restart");
    if (reply.status == 200) {
      fmt::print("Success: flush scheduled restart for member {}\n", member->name.text());
    } else if (reply.status == 404) {
      fmt::print("No scheduled restart for member {}\n", member->name.text());
    } else {
      report(reply, "flush scheduled restart", *member);
    }
  }
}

}  // namespace pgvigil::ctl
