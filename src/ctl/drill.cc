// `drill`: the runbook's tests on a living cluster, with a probe table of their own and outages that are measured.
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "ctl/member_report.h"
#include "ctl/probe.h"
#include "ctl/rolling.h"
#include "ctl/verbs.h"

namespace pgvigil::ctl {
namespace {

using Json = nlohmann::ordered_json;
using SteadyTime = std::chrono::steady_clock::time_point;

constexpr Duration kSqlMax = std::chrono::seconds(10);
constexpr Duration kFollowMax = std::chrono::minutes(5);
constexpr Duration kFirstWriteMax = std::chrono::seconds(10);
constexpr int kReplicatedRows = 5;
constexpr int kPoolerClients = 20;

double milliseconds_since(SteadyTime began) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began).count();
}

double milliseconds_of(Duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

class Drill {
 public:
  Drill(Context& context, DrillOptions options) : context_(context), options_(std::move(options)) {
    result_["cluster"] = context_.config().scope;
    result_["steps"] = Json::array();
  }

  void run() {
    look();
    announce();
    create_table();
    bool ok = true;
    try {
      ok = steps();
    } catch (const CommandError& error) {
      ok = false;
      result_["error"] = error.text;
      say("FAILED: " + error.text);
    }
    const std::string left = drop_table();
    result_["ok"] = ok && left.empty();
    if (!left.empty()) result_["table_left"] = left;
    if (options_.json) fmt::print("{}\n", result_.dump(2));
    if (!left.empty()) throw CommandError{left};
    if (!ok) throw CommandError{"the drill has failed, see above; the probe table is removed"};
    say("ok: every step was passed, the probe table is removed");
  }

 private:
  void say(const std::string& text) const {
    fmt::print(options_.json ? stderr : stdout, "{}\n", text);
    std::fflush(options_.json ? stderr : stdout);
  }

  void look() {
    const auto view = context_.view();
    if (is_paused(*view)) throw CommandError{"The cluster is paused: resume it first, a drill needs its automatics"};
    leader_ = leader_name(context_);
    const auto report = report_of(context_, leader_);
    if (!report.runs_as_primary()) throw CommandError{leader_ + " leads and does not run as a primary"};
    successor_ = successor_of(*view, report.streaming, {});
    if (successor_.empty()) {
      throw CommandError{"no member streams from " + leader_ + " that may take the lead over: there is nothing to try"};
    }
    for (const auto& member : view->members) {
      hosts_ += (hosts_.empty() ? "" : ",") + member.host;
      ports_ += (ports_.empty() ? "" : ",") + std::to_string(member.port);
      if (member.name.text() != leader_) replicas_.push_back(member.name.text());
    }
    result_["leader"] = leader_;
    result_["candidate"] = successor_;
  }

  void announce() {
    const auto& scope = context_.config().scope;
    say(fmt::format("Drill of cluster {}, on the living cluster. What it does:", scope));
    say(fmt::format("  - creates the table {} in database {}, writes to it all the time, and removes it at the end",
                    kProbeTable, options_.dbname));
    say("  - replication: rows written on the leader are looked for on every replica; interrupts nothing");
    if (!options_.pooler.empty()) {
      say(fmt::format("  - pooling: {} clients at once through {}; interrupts nothing", kPoolerClients,
                      options_.pooler));
    }
    say(
        fmt::format("  - switchover from {} to {}: every direct connection to {} is closed, and nobody can write for a "
                    "moment",
                    leader_, successor_, leader_));
    say(fmt::format("  - failover from {} back to {}: the same once more", successor_, leader_));
    say("A killed server or machine cannot be tried from here, over the members' REST APIs: the failover is the one "
        "that `failover --candidate` orders, and loses nothing. Kill a postmaster by hand to see the other kind.");
    if (options_.force) return;
    if (options_.json) throw CommandError{"--json asks nothing: it needs --force"};
    if (prompt(fmt::format("Type the cluster's name to go on ({})", scope), "") != scope) {
      throw CommandError{"Aborted: nothing was done"};
    }
  }

  [[nodiscard]] ConnectionParameters common() const {
    return {{"dbname", options_.dbname},
            {"user", options_.username},
            {"password", options_.password},
            {"application_name", "pgvigil drill"},
            {"connect_timeout", "2"}};
  }
  [[nodiscard]] ConnectionParameters direct() const {
    auto parameters = common();
    parameters.insert(parameters.end(), {{"host", hosts_}, {"port", ports_}, {"target_session_attrs", "read-write"}});
    return parameters;
  }
  [[nodiscard]] ConnectionParameters through_pooler() const {
    auto parameters = common();
    const auto colon = options_.pooler.rfind(':');
    parameters.emplace_back("host", options_.pooler.substr(0, colon));
    parameters.emplace_back("port", options_.pooler.substr(colon + 1));
    return parameters;
  }
  [[nodiscard]] ConnectionParameters to_member(const std::string& name) const {
    const auto view = context_.view();
    const auto* member = view->member(MemberName(name));
    if (member == nullptr) throw CommandError{name + " is not a member of the cluster any more"};
    auto parameters = common();
    parameters.insert(parameters.end(), {{"host", member->host}, {"port", std::to_string(member->port)}});
    return parameters;
  }

  static Connection opened(const ConnectionParameters& parameters, const std::string& where) {
    auto connection = open_connection(parameters);
    if (PQstatus(connection.get()) != CONNECTION_OK) {
      throw CommandError{fmt::format("cannot connect to {}: {}", where, one_line(PQerrorMessage(connection.get())))};
    }
    return connection;
  }
  static Rows executed(const Connection& connection, const std::string& sql) {
    auto rows = run_sql(connection.get(), sql, kSqlMax);
    if (!is_done(rows)) throw CommandError{sql_error(connection.get(), rows)};
    return rows;
  }

  void create_table() {
    const auto connection = opened(direct(), "the leader");
    const auto rows =
        run_sql(connection.get(), fmt::format("CREATE TABLE {} (series text, number bigint)", kProbeTable), kSqlMax);
    if (is_done(rows)) return;
    throw CommandError{fmt::format(
        "the probe table could not be created: {}. Where it exists already, another drill runs or was interrupted: "
        "DROP TABLE {}",
        sql_error(connection.get(), rows), kProbeTable)};
  }

  // Empty: it is gone. Else what is left to do.
  std::string drop_table() {
    std::string why;
    const bool dropped = wait_for(kFollowMax, [&] {
      try {
        (void)executed(opened(direct(), "the leader"), fmt::format("DROP TABLE {}", kProbeTable));
      } catch (const CommandError& error) {
        why = error.text;
        throw;
      }
      return true;
    });
    if (dropped) return {};
    return fmt::format("the probe table could not be removed ({}): DROP TABLE {}", why, kProbeTable);
  }

  bool steps() {
    bool ok = true;
    for (const auto& name : replicas_) ok = replication(name) && ok;
    if (!options_.pooler.empty()) ok = pooling() && ok;
    ok = move("switchover", leader_, successor_) && ok;
    return move("failover", successor_, leader_) && ok;
  }

  bool replication(const std::string& name) {
    const auto writer = opened(direct(), "the leader");
    const auto reader = opened(to_member(name), name);
    double longest = 0;
    int arrived = 0;
    for (int i = 0; i < kReplicatedRows; ++i) {
      (void)executed(writer, fmt::format("INSERT INTO {} VALUES ('replication {}', {})", kProbeTable, name, i));
      const auto began = std::chrono::steady_clock::now();
      const auto sql =
          fmt::format("SELECT 1 FROM {} WHERE series = 'replication {}' AND number = {}", kProbeTable, name, i);
      bool there = false;
      while (!there && std::chrono::steady_clock::now() - began < kSqlMax) {
        // The table itself may not have arrived yet.
        const auto rows = run_sql(reader.get(), sql, kSqlMax);
        there = is_done(rows) && PQntuples(rows.get()) == 1;
        if (!there) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      if (there) ++arrived;
      longest = std::max(longest, milliseconds_since(began));
    }
    const bool ok = arrived == kReplicatedRows;
    result_["steps"].push_back(
        {{"step", "replication"}, {"replica", name}, {"ok", ok}, {"rows", arrived}, {"longest_ms", longest}});
    say(fmt::format("replication to {}: {}, {} of {} rows seen, the slowest after {:.1f} ms", name,
                    ok ? "ok" : "FAILED", arrived, kReplicatedRows, longest));
    return ok;
  }

  bool pooling() {
    std::vector<Connection> clients;
    std::set<std::string> servers;
    int errors = 0;
    std::string first_error;
    for (int i = 0; i < kPoolerClients; ++i) clients.push_back(open_connection(through_pooler()));
    for (const auto& client : clients) {
      const auto rows = run_sql(client.get(), "SELECT pg_backend_pid(), pg_is_in_recovery()", kSqlMax);
      if (is_done(rows) && PQntuples(rows.get()) == 1 && std::string(PQgetvalue(rows.get(), 0, 1)) == "f") {
        servers.insert(PQgetvalue(rows.get(), 0, 0));
        continue;
      }
      ++errors;
      if (first_error.empty()) {
        first_error = is_done(rows) ? "it routes to a server that takes no writes" : sql_error(client.get(), rows);
      }
    }
    Json step{{"step", "pooling"},
              {"ok", errors == 0},
              {"clients", kPoolerClients},
              {"errors", errors},
              {"servers", servers.size()}};
    if (errors > 0) step["first_error"] = first_error;
    result_["steps"].push_back(std::move(step));
    say(fmt::format("pooling: {}, {} clients on {} server connections, {} errors{}", errors == 0 ? "ok" : "FAILED",
                    kPoolerClients, servers.size(), errors, errors == 0 ? "" : ": " + first_error));
    return errors == 0;
  }

  // What was acknowledged has to be on the leader that came after.
  Json outcome_of(const ProbeResult& probe, const std::string& series, const char* path) {
    const auto connection = opened(direct(), "the new leader");
    const auto rows =
        executed(connection, fmt::format("SELECT number FROM {} WHERE series = '{}'", kProbeTable, series));
    auto missing = probe.acknowledged;
    for (int r = 0; r < PQntuples(rows.get()); ++r) missing.erase(std::stoll(PQgetvalue(rows.get(), r, 0)));
    Json json{{"longest_gap_ms", milliseconds_of(probe.longest_gap)},
              {"errors", probe.errors},
              {"acknowledged", probe.acknowledged.size()},
              {"lost", missing.size()}};
    if (probe.errors > 0) json["first_error"] = probe.first_error;
    say(fmt::format("  {:<7} longest gap {:.0f} ms, {} errors, {} writes acknowledged, {} lost{}", path,
                    milliseconds_of(probe.longest_gap), probe.errors, probe.acknowledged.size(), missing.size(),
                    probe.errors == 0 ? "" : "; first error: " + probe.first_error));
    return json;
  }

  bool move(const std::string& action, const std::string& from, const std::string& to) {
    say(fmt::format("{} from {} to {}:", action, from, to));
    std::vector<std::pair<const char*, std::unique_ptr<Probe>>> probes;
    const auto series = [&action](const char* path) { return action + " " + path; };
    probes.emplace_back("direct", std::make_unique<Probe>(direct(), series("direct")));
    if (!options_.pooler.empty()) {
      probes.emplace_back("pooler", std::make_unique<Probe>(through_pooler(), series("pooler")));
    }
    constexpr std::uint64_t kEnough = 10;
    const auto all_write = [&probes](const std::vector<std::uint64_t>& before) {
      for (std::size_t i = 0; i < probes.size(); ++i) {
        if (probes[i].second->writes() < before[i] + kEnough) return false;
      }
      return true;
    };
    Json step{{"step", action}, {"from", from}, {"to", to}};
    std::string problem;
    if (wait_for(kFirstWriteMax, [&] { return all_write(std::vector<std::uint64_t>(probes.size(), 0)); })) {
      try {
        change_leader(context_, action, from, to);
        std::vector<std::uint64_t> before;
        for (const auto& probe : probes) before.push_back(probe.second->writes());
        if (!wait_for(kFollowMax, [&] { return all_write(before); })) problem = "writes do not go on";
      } catch (const CommandError& error) {
        problem = error.text;
      }
    } else {
      problem = "the probes cannot write, nothing was moved";
    }
    bool ok = problem.empty();
    for (auto& [path, probe] : probes) {
      const auto result = probe->stop();
      step[path] = outcome_of(result, series(path), path);
      ok = ok && step[path]["lost"] == 0;
    }
    if (problem.empty() && !wait_until_it_follows(context_, from, kFollowMax)) {
      problem = from + " does not stream from the new leader";
      ok = false;
    }
    step["ok"] = ok;
    if (!problem.empty()) step["problem"] = problem;
    result_["steps"].push_back(std::move(step));
    say(fmt::format("  {}", ok ? "ok, " + from + " streams again" : "FAILED: " + problem));
    if (!problem.empty()) throw CommandError{problem};
    return ok;
  }

  Context& context_;
  DrillOptions options_;
  Json result_ = Json::object();
  std::string leader_, successor_, hosts_, ports_;
  std::vector<std::string> replicas_;
};

}  // namespace

void drill(Context& context, DrillOptions options) {
  if (!options.pooler.empty() && options.pooler.find(':') == std::string::npos) {
    throw CommandError{"--pooler needs host:port, not " + options.pooler};
  }
  if (options.ask_password) options.password = ask_password();
  Drill(context, std::move(options)).run();
}

}  // namespace pgvigil::ctl
