#include "api/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "base/timestamp.h"

namespace pgvigil::api {
namespace {

constexpr int kReplicationStateSince = 90600;  // PostgreSQL 9.6 has pg_stat_wal_receiver

std::string escape_label(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '"') {
      out += "\\\"";
    } else if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

class Page {
 public:
  Page(const std::string& scope, const std::string& name)
      : labels_(fmt::format("scope=\"{}\",name=\"{}\"", escape_label(scope), escape_label(name))) {}

  void head(std::string_view metric, std::string_view type, std::string_view help, std::string_view comment = {}) {
    metric_ = metric;
    text_ += fmt::format("# HELP {} {}\n", metric, help);
    if (!comment.empty()) text_ += fmt::format("# {}\n", comment);
    text_ += fmt::format("# TYPE {} {}\n", metric, type);
  }
  template <class Value>
  void sample(Value value) {
    text_ += fmt::format("{}{{{}}} {}\n", metric_, labels_, value);
  }
  template <class Value>
  void sample(std::string_view label, std::string_view label_value, Value value) {
    text_ += fmt::format("{}{{{},{}=\"{}\"}} {}\n", metric_, labels_, label, escape_label(label_value), value);
  }
  template <class Value>
  void gauge(std::string_view metric, std::string_view help, Value value) {
    head(metric, "gauge", help);
    sample(value);
  }
  void flag(std::string_view metric, std::string_view help, bool value) { gauge(metric, help, value ? 1 : 0); }
  template <class Value>
  void counter(std::string_view metric, std::string_view help, Value value) {
    head(metric, "counter", help);
    sample(value);
  }
  std::string take() { return std::move(text_); }

 private:
  std::string labels_, text_;
  std::string_view metric_;
};

// Seconds since 1970 with fraction; 0 when there is no such time.
double epoch_of(const std::string& text) {
  const auto time = parse_timestamp(text);
  if (!time) return 0;
  return std::chrono::duration<double>(time->at.time_since_epoch()).count();
}

void add_positions(Page& page, const Observed& node, bool answers, bool standby) {
  const Instance& instance = node.instance;
  const Lsn received = instance.received.known() ? instance.received : instance.replayed;
  page.flag("patroni_sync_standby", "1 on a synchronous standby", node.sync_standby());
  page.flag("patroni_quorum_standby", "1 on a standby that counts for the quorum", node.quorum_standby());
  page.counter("patroni_xlog_received_location", "WAL position received, on a standby; else 0",
               standby ? received.value() : 0);
  page.counter("patroni_xlog_replayed_location", "WAL position replayed, on a standby; else 0",
               standby ? instance.replayed.value() : 0);
  page.gauge("patroni_xlog_replayed_timestamp", "Commit time of the last transaction replayed, since 1970; 0 if none",
             standby ? epoch_of(instance.replayed_timestamp) : 0.0);
  page.flag("patroni_xlog_paused", "1 while replay is paused", standby && instance.replay_paused);
  if (answers && instance.server_version >= kReplicationStateSince) {
    page.flag("patroni_postgres_streaming", "1 while WAL is streamed from another server",
              standby && instance.replication_state == "streaming");
    page.flag("patroni_postgres_in_archive_recovery", "1 while WAL comes from the archive",
              standby && instance.replication_state == "in archive recovery");
  }
}

void add_cluster(Page& page, const Observed& node, bool answers) {
  const agent::AgentStatus& status = *node.status;
  page.gauge("patroni_postgres_server_version", "Version number of the running server; 0 if none runs",
             answers ? node.instance.server_version : 0);
  page.flag("patroni_cluster_unlocked", "1 while nobody holds the leader lock", node.unlocked());
  page.flag("patroni_failsafe_mode_is_active", "1 while failsafe mode carries the leader", status.failsafe_active);
  page.flag("patroni_failsafe_mode_enabled", "1 if failsafe mode is configured", node.settings().failsafe_mode);
  page.flag("patroni_failsafe_member", "1 if this node is a member of the failsafe topology",
            status.view && status.view->failsafe.count(status.name.text()) > 0);
  page.gauge("patroni_postgres_timeline", "Timeline of this server; 0 if unknown",
             answers ? node.instance.timeline.value() : 0);
  page.gauge("patroni_dcs_last_seen", "When the DCS last answered, in seconds since 1970",
             status.dcs_last_seen
                 ? std::chrono::duration_cast<std::chrono::seconds>(status.dcs_last_seen->time_since_epoch()).count()
                 : 0);
  page.flag("patroni_pending_restart", "1 if a parameter waits for a restart", !node.instance.pending_restart.empty());
  page.flag("patroni_is_paused", "1 in maintenance mode", node.paused());
  page.head("patroni_postgres_state", "gauge", "State of this server as a number",
            "Values: 0=initdb, 1=initdb_failed, 2=custom_bootstrap, 3=custom_bootstrap_failed, 4=creating_replica, "
            "5=running, 6=starting, 7=bootstrap_starting, 8=start_failed, 9=restarting, 10=restart_failed, "
            "11=stopping, 12=stopped, 13=stop_failed, 14=crashed");
  page.sample(node.state() == "unknown" ? -1 : static_cast<int>(status.state));
  page.gauge("patroni_failover_priority", "Priority of this node in a failover; 0 if it may not lead",
             status.tags.nofailover ? 0 : status.tags.failover_priority);
}

void add_own(Page& page, const Observed& node, const Versions& versions, const ServerCounters& counters) {
  const agent::AgentStatus& status = *node.status;
  page.head("pgvigil_info", "gauge", "Always 1; the label is pgvigil's version");
  page.sample("version", versions.pgvigil, 1);
  page.gauge("pgvigil_lease_margin_seconds", "Time for which the leader lease is still proven; 0 when it is not",
             node.is_leader() ? seconds_of(status.leader_until - node.now) : 0.0);
  page.head("pgvigil_decisions_total", "counter", "Decisions of the agent since its start, by rule");
  for (const auto& [rule, count] : status.decisions) page.sample("rule", rule, count);
  page.head("pgvigil_last_decision", "gauge", "Always 1; the label is the rule of the latest decision");
  page.sample("rule", status.last_decision.rule, 1);
  if (status.guard_armed) page.flag("pgvigil_guard_armed", "1 while the guard holds a deadline", *status.guard_armed);
  page.flag("pgvigil_dcs_fresh", "1 while what is known of the DCS is younger than ttl", status.dcs_fresh);
  // The label is not "name": that is the member's.
  page.head("pgvigil_operation", "gauge", "1 while a long operation is under way; the label says which");
  page.sample("operation", status.operation, status.operation.empty() ? 0 : 1);
  page.counter("pgvigil_rest_requests_total", "Requests answered by the REST server", counters.requests);
  page.gauge("pgvigil_rest_connections", "Open connections of the REST server", counters.connections);
  page.counter("pgvigil_rest_rejected_connections_total", "Connections closed because there were too many",
               counters.rejected_connections);
  page.counter("pgvigil_rest_timed_out_connections_total", "Connections closed because no request arrived in time",
               counters.timed_out);
}

}  // namespace

std::string padded_version(const std::string& version) {
  std::string out, part;
  const auto flush = [&] {
    if (part.size() < 2) part.insert(0, 2 - part.size(), '0');
    out += part;
    part.clear();
  };
  for (const char c : version) {
    if (c == '.') {
      flush();
    } else {
      part += c;
    }
  }
  flush();
  return out;
}

std::string metrics_text(const Observed& node, const Versions& versions, const ServerCounters& counters) {
  const agent::AgentStatus& status = *node.status;
  const bool answers = node.sql_worked();
  const bool standby = answers && node.instance.in_recovery;
  const std::string role = node.role();
  Page page(status.scope, status.name.text());
  page.gauge("patroni_version", "Version of the interface, two digits per component", padded_version(versions.patroni));
  page.flag("patroni_postgres_running", "1 while PostgreSQL runs", node.running());
  page.gauge("patroni_postmaster_start_time", "When PostgreSQL was started, in seconds since 1970",
             answers ? epoch_of(node.instance.postmaster_start_time) : 0.0);
  page.flag("patroni_primary", "1 on a primary", role == "primary");
  page.counter("patroni_xlog_location", "WAL position of a primary; else 0",
               answers && !standby ? node.instance.flushed.value() : 0);
  page.flag("patroni_standby_leader", "1 on the leader of a standby cluster", role == "standby_leader");
  page.flag("patroni_replica", "1 on a replica", role == "replica");
  add_positions(page, node, answers, standby);
  add_cluster(page, node, answers);
  add_own(page, node, versions, counters);
  return page.take();
}

}  // namespace pgvigil::api
