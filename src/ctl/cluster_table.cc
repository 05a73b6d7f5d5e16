#include "ctl/cluster_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

namespace pgvigil::ctl {
namespace {

constexpr std::size_t kReasonMax = 50;
constexpr std::uint64_t kMegabyte = 1024 * 1024;

struct Row {
  std::string name, host, role, state, timeline, receive_lsn, receive_lag, replay_lsn, replay_lag, pending, reason,
      restart, tags, problem;
  Paint paint = Paint::None;
};

std::string role_of(const ClusterView& view, const Member& member) {
  if (view.led_by(member.name)) return member.role == Role::StandbyLeader ? "Standby Leader" : "Leader";
  const auto& sync = view.sync;
  const bool listed = std::find(sync.standbys.begin(), sync.standbys.end(), member.name) != sync.standbys.end();
  if (listed && view.leader && sync.leader == view.leader->name)
    return sync.quorum > 0 ? "Quorum Standby" : "Sync Standby";
  return "Replica";
}

std::string lag_of(Lsn leader, Lsn here) {
  if (!here.known()) return {};
  const std::uint64_t bytes = leader > here ? static_cast<std::uint64_t>(leader - here) : 0;
  return std::to_string((bytes + kMegabyte / 2) / kMegabyte);
}

std::string state_of(const Member& member, bool leads) {
  std::string state(to_string(member.state));
  if (!leads && member.state == InstanceState::Running && !member.replication_state.empty())
    state = member.replication_state;
  return member.progress.empty() ? state : state + ": " + member.progress;
}

std::string reason_of(const Member& member, Format format) {
  std::string text;
  for (const auto& [name, change] : member.pending_restart) {
    std::string line = fmt::format("{}: {}->{}", name, change.old_value, change.new_value);
    if (format == Format::Pretty && line.size() > kReasonMax) line = name + ": [hidden - too long]";
    text += (text.empty() ? "" : "\n") + line;
  }
  return text;
}

std::string tags_of(const Member& member, Format format) {
  if (member.raw_tags.empty() || format == Format::Json || format == Format::Yaml) return member.raw_tags;
  const auto json = nlohmann::json::parse(member.raw_tags, nullptr, false);
  if (!json.is_object()) return {};
  std::string text;
  const bool block = format == Format::Pretty;
  for (const auto& [name, value] : json.items()) {
    const std::string shown = value.is_string() ? value.get<std::string>() : value.dump();
    text += (text.empty() ? "" : block ? "\n" : ", ") + name + ": " + shown;
  }
  return block || text.empty() ? text : "{" + text + "}";
}

Row row_of(const ClusterView& view, const Member& member, bool with_port, Format format) {
  Row row;
  row.name = member.name.text();
  row.host = with_port ? fmt::format("{}:{}", member.host, member.port) : member.host;
  row.role = role_of(view, member);
  const bool leads = view.led_by(member.name);
  row.state = state_of(member, leads);
  if (member.timeline.known()) row.timeline = std::to_string(member.timeline.value());
  if (!leads) {
    const auto* leader = view.leader_member();
    const Lsn end = std::max(view.status.optime, leader != nullptr ? leader->wal_position : Lsn());
    Lsn receive = member.receive_lsn;
    Lsn replay = member.replay_lsn;
    // Members of old versions publish one position only.
    if (!receive.known() && !replay.known())
      (member.replication_state == "streaming" ? receive : replay) = member.wal_position;
    row.receive_lsn = receive.known() ? to_string(receive) : "unknown";
    row.receive_lag = lag_of(end, receive);
    row.replay_lsn = replay.known() ? to_string(replay) : "unknown";
    row.replay_lag = lag_of(end, replay);
  }
  if (member.pending_restart_flag) row.pending = "*";
  row.reason = reason_of(member, format);
  if (member.scheduled_restart) {
    row.restart = member.scheduled_restart->schedule_text;
    if (!member.scheduled_restart->postgres_version.empty()) {
      row.restart += " if version < " + member.scheduled_restart->postgres_version;
    }
  }
  row.tags = tags_of(member, format);
  row.problem = member.problem;
  row.paint = member.state != InstanceState::Running || !member.problem.empty() ? Paint::Red
              : leads                                                           ? Paint::Bold
                                                                                : Paint::None;
  return row;
}

// The leader, then below each member those that stream from it.
void add_subtree(const std::vector<Row>& rows, const std::map<std::string, std::vector<std::size_t>>& children,
                 std::size_t at, std::size_t level, std::vector<Row>& out) {
  Row row = rows[at];
  const std::string name = row.name;
  if (level > 0) row.name = std::string((level - 1) * 2, ' ') + "+ " + row.name;
  out.push_back(std::move(row));
  const auto found = children.find(name);
  if (found == children.end()) return;
  for (const auto child : found->second) add_subtree(rows, children, child, level + 1, out);
}

std::vector<Row> in_topology(const ClusterView& view, const std::vector<Row>& rows) {
  if (view.leader_member() == nullptr) return rows;
  const std::string leader = view.leader->name.text();
  // A member belongs to its parent, unless that is itself, unknown, or leads back to it: then to the leader.
  const auto parent_of = [&](const std::string& name) {
    const auto* member = view.member(MemberName(name));
    std::string parent = member != nullptr ? member->tags.replicatefrom : "";
    std::set<std::string> seen{name};
    for (std::string up = parent; !up.empty() && up != leader;) {
      const auto* next = view.member(MemberName(up));
      if (next == nullptr || !seen.insert(up).second) return leader;
      up = next->tags.replicatefrom;
    }
    return parent.empty() ? leader : parent;
  };
  std::map<std::string, std::vector<std::size_t>> children;
  std::size_t root = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].name == leader) {
      root = i;
    } else {
      children[parent_of(rows[i].name)].push_back(i);
    }
  }
  std::vector<Row> out;
  add_subtree(rows, children, root, 0, out);
  return out;
}

std::string footer(const ClusterView& view, bool paused) {
  std::string text;
  for (const auto& member : view.members) {
    if (!member.problem.empty()) text += fmt::format(" {}: {}\n", member.name.text(), member.problem);
  }
  if (paused) text += " Maintenance mode: on\n";
  if (view.failover && view.failover->scheduled_at) {
    text += " Switchover scheduled at: " + view.failover->scheduled_text + "\n";
    if (!view.failover->leader.empty()) text += fmt::format("{:>24}: {}\n", "from", view.failover->leader.text());
    if (!view.failover->candidate.empty()) text += fmt::format("{:>24}: {}\n", "to", view.failover->candidate.text());
  }
  return text;
}

}  // namespace

bool is_paused(const ClusterView& view) {
  const auto config = nlohmann::json::parse(view.config.value_or("{}"), nullptr, false);
  return config.is_object() && config.value("pause", nlohmann::json(false)) == nlohmann::json(true);
}

std::string cluster_table(const ClusterView& view, const std::string& scope, const ListOptions& options) {
  std::set<std::string> hosts;
  bool with_port = false;
  for (const auto& member : view.members) {
    with_port = with_port || member.port != 5432 || !hosts.insert(member.host).second;
  }
  std::vector<Row> rows;
  for (const auto& member : view.members) rows.push_back(row_of(view, member, with_port, options.format));
  if (options.topology) rows = in_topology(view, rows);

  const bool pretty = options.format == Format::Pretty;
  const auto some = [&](std::string Row::*field) {
    return options.extended || std::any_of(rows.begin(), rows.end(), [&](const Row& r) { return !(r.*field).empty(); });
  };
  std::vector<std::pair<Column, std::string Row::*>> plan{{{"Member", "Member"}, &Row::name},
                                                          {{"Host", "Host"}, &Row::host},
                                                          {{"Role", "Role"}, &Row::role},
                                                          {{"State", "State"}, &Row::state},
                                                          {{"TL", "TL", true, true}, &Row::timeline},
                                                          {{"Receive LSN", "Receive LSN", true}, &Row::receive_lsn},
                                                          {{"Receive Lag", "Lag", true, true}, &Row::receive_lag},
                                                          {{"Replay LSN", "Replay LSN", true}, &Row::replay_lsn},
                                                          {{"Replay Lag", "Lag", true, true}, &Row::replay_lag}};
  if (some(&Row::pending)) plan.push_back({{"Pending restart", "Pending restart"}, &Row::pending});
  if (some(&Row::reason)) plan.push_back({{"Pending restart reason", "Pending restart reason"}, &Row::reason});
  if (some(&Row::restart)) plan.push_back({{"Scheduled restart", "Scheduled restart"}, &Row::restart});
  // A sentence, too wide for the table on a terminal: there it is below.
  if (!pretty && std::any_of(rows.begin(), rows.end(), [](const Row& r) { return !r.problem.empty(); }))
    plan.push_back({{"Problem", "Problem"}, &Row::problem});
  if (some(&Row::tags)) plan.push_back({{"Tags", "Tags"}, &Row::tags});

  Table table;
  const std::string id = !view.initialize           ? "uninitialized"
                         : view.initialize->empty() ? "initializing"
                                                    : *view.initialize;
  table.title = fmt::format("Cluster: {} ({})", scope, id);
  if (!pretty) table.columns.push_back({"Cluster", "Cluster"});
  for (const auto& [column, field] : plan) table.columns.push_back(column);
  for (const auto& row : rows) {
    std::vector<std::string> cells;
    if (!pretty) cells.push_back(scope);
    for (const auto& [column, field] : plan) cells.push_back(row.*field);
    table.rows.push_back(std::move(cells));
    if (options.colours && pretty) table.paints.push_back(row.paint);
  }
  return render(table, options.format) + (pretty ? footer(view, is_paused(view)) : "");
}

std::string config_history_table(const ClusterView& view, Format format) {
  Table table;
  table.columns = {{"Timestamp", "Timestamp"}, {"Revision", "Revision", true, true}, {"Change", "Change"}};
  for (const auto& entry : view.config_history) {
    std::string lines;
    for (const auto& change : entry.changes) lines += (lines.empty() ? "" : "\n") + change;
    table.rows.push_back({entry.timestamp, std::to_string(entry.revision.value()), lines});
  }
  return render(table, format);
}

std::string history_table(const ClusterView& view, Format format) {
  Table table;
  table.columns = {{"TL", "TL", true, true},
                   {"LSN", "LSN", true, true},
                   {"Reason", "Reason"},
                   {"Timestamp", "Timestamp"},
                   {"New Leader", "New Leader"}};
  for (const auto& entry : view.history) {
    table.rows.push_back({std::to_string(entry.timeline.value()), std::to_string(entry.switch_point.value()),
                          entry.reason, entry.timestamp, entry.new_leader});
  }
  return render(table, format);
}

}  // namespace pgvigil::ctl
