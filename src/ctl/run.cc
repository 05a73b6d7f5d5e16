#include "ctl/run.h"

#include <unistd.h>

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>

#include "config/load.h"
#include "ctl/verbs.h"

namespace pgvigil::ctl {
namespace {

struct Globals {
  std::string file, dcs_url;
  bool insecure = false;
  std::string cluster;
};

std::string home_file(const char* name) {
  const char* home = std::getenv("HOME");
  return home == nullptr ? std::string() : std::string(home) + "/" + name;
}

// -c, else PATRONICTL_CONFIG_FILE, else the user's file, else the deployment that `pgvigil up` made.
std::string config_file(const Globals& globals) {
  if (!globals.file.empty()) return globals.file;
  if (const char* named = std::getenv("PATRONICTL_CONFIG_FILE"); named != nullptr && *named != '\0') return named;
  const char* directory = std::getenv("PGVIGIL_DIR");
  std::vector<std::string> defaults{home_file(".config/patroni/patronictl.yaml")};
  defaults.push_back(directory != nullptr ? std::string(directory) + "/ctl.yml"
                                          : home_file(".local/share/pgvigil/lakehouse/ctl.yml"));
  // Run as root, `pgvigil up` works as the user postgres, in his home.
  if (geteuid() == 0) defaults.emplace_back("/var/lib/postgresql/.local/share/pgvigil/lakehouse/ctl.yml");
  for (const auto& path : defaults) {
    if (!path.empty() && access(path.c_str(), R_OK) == 0) return path;
  }
  return {};
}

// etcd3://host:port/namespace
void apply_dcs_url(const std::string& url, config::AgentConfig& config) {
  const auto scheme = url.find("://");
  std::string rest = scheme == std::string::npos ? url : url.substr(scheme + 3);
  if (scheme != std::string::npos && url.substr(0, scheme) != "etcd3") {
    throw CommandError{"only etcd3:// can be used as DCS, not " + url.substr(0, scheme) + "://"};
  }
  if (const auto slash = rest.find('/'); slash != std::string::npos) {
    if (slash + 1 < rest.size()) config.name_space = rest.substr(slash + 1);
    rest.resize(slash);
  }
  const auto colon = rest.rfind(':');
  const int port = colon == std::string::npos ? 2379 : std::atoi(rest.c_str() + colon + 1);
  if (port <= 0 || port > 65535) throw CommandError{"cannot read the DCS address " + url};
  config.etcd.hosts = {{rest.substr(0, colon), static_cast<std::uint16_t>(port)}};
}

config::AgentConfig load(const Globals& globals) {
  const auto environment = config::process_environment();
  auto loaded = config::load_ctl_config(config_file(globals), environment);
  if (!loaded) throw CommandError{loaded.error().message()};
  auto config = std::move(loaded->config);
  std::string url = globals.dcs_url;
  if (const auto set = environment.find("DCS_URL"); url.empty() && set != environment.end()) url = set->second;
  if (!url.empty()) apply_dcs_url(url, config);
  if (!globals.cluster.empty()) config.scope = globals.cluster;
  if (globals.insecure) config.ctl.insecure = true;
  if (config.scope.empty()) throw CommandError{"no cluster is named; give its name, or -c FILE with a scope"};
  if (config.etcd.hosts.empty()) {
    throw CommandError{"no etcd endpoint is known; use -c FILE (with etcd3.hosts) or -d etcd3://HOST:PORT"};
  }
  return config;
}

Format format_of(const std::string& name) {
  if (name == "tsv") return Format::Tsv;
  if (name == "json") return Format::Json;
  if (name == "yaml" || name == "yml") return Format::Yaml;
  return Format::Pretty;
}

// The tree of verbs with the places their options are parsed into, and the verb that was chosen.
class Program {
 public:
  Program(const std::string& name, std::string version, const KvFactory& make_kv, std::vector<VerbWords> others)
      : app_("Operates a PostgreSQL cluster", name),
        version_(std::move(version)),
        make_kv_(make_kv),
        others_(std::move(others)) {
    app_.add_option("-c,--config-file", globals_.file, "configuration file");
    app_.add_option("-d,--dcs,--dcs-url", globals_.dcs_url, "etcd3://host:port/namespace");
    app_.add_flag("-k,--insecure", globals_.insecure, "do not verify the members' certificates");
    app_.require_subcommand(1);
    add_showing();
    add_moving();
    add_members();
    add_changing();
    add_standby_cluster();
    add_query();
    add_drill();
    add_completion();
  }

  int run(int argc, char** argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::Success& end) {
      return app_.exit(end);
    } catch (const CLI::ParseError& error) {
      (void)app_.exit(error);
      return 2;
    }
    try {
      chosen_();
    } catch (const CommandError& error) {
      std::fputs(error.text == "Aborted!" ? "Aborted!\n" : ("Error: " + error.text + "\n").c_str(), stderr);
      return 1;
    }
    return 0;
  }

 private:
  CLI::App* verb(const std::string& name, const std::string& help, std::function<void(Context&)> action) {
    auto* sub = app_.add_subcommand(name, help);
    sub->callback([this, action] {
      chosen_ = [this, action] {
        Context context(load(globals_), make_kv_);
        action(context);
      };
    });
    return sub;
  }
  CLI::App* cluster_verb(const std::string& name, const std::string& help, std::function<void(Context&)> action) {
    auto* sub = verb(name, help, std::move(action));
    sub->add_option("CLUSTER_NAME", globals_.cluster, "default: the configuration's scope");
    return sub;
  }
  CLI::App* member_verb(const std::string& name, const std::string& help, std::function<void(Context&)> action) {
    auto* sub = verb(name, help, std::move(action));
    sub->add_option("CLUSTER_NAME", globals_.cluster)->required();
    sub->add_option("MEMBER_NAMES", members_.members);
    sub->add_option("-r,--role", members_.role, "leader, primary, standby-leader, replica, standby or any");
    sub->add_flag("--force", members_.force, "do not ask");
    return sub;
  }
  void add_watching(CLI::App* sub) {
    sub->add_flag("-W", watch_default_, "again every 2 seconds");
    sub->add_option("-w,--watch", watch_, "again every so many seconds");
  }
  [[nodiscard]] std::optional<double> watching() const {
    if (watch_ > 0) return watch_;
    return watch_default_ ? std::optional<double>(2.0) : std::nullopt;
  }
  void add_format(CLI::App* sub) {
    sub->add_option("-f,--format", format_, "pretty, tsv, json or yaml")->check(CLI::IsMember(output_formats()));
  }

  void add_showing() {
    auto* listing = cluster_verb("list", "the members of the cluster", [this](Context& context) {
      list(context, {false, extended_, format_of(format_), terminal_has_colours()}, timestamp_, watching());
    });
    listing->add_flag("-e,--extended", extended_, "all columns");
    listing->add_flag("-t,--timestamp", timestamp_, "print the time");
    add_format(listing);
    add_watching(listing);
    add_watching(cluster_verb("topology", "who streams from whom", [this](Context& context) {
      list(context, {true, false, Format::Pretty, terminal_has_colours()}, false, watching());
    }));
    auto* past = cluster_verb("history", "the changes of leader",
                              [this](Context& context) { history(context, of_config_, format_of(format_)); });
    past->add_flag("--config", of_config_, "the changes of the dynamic configuration instead");
    add_format(past);
    cluster_verb("show-config", "the dynamic configuration", [](Context& context) { show_config(context); });
    auto* address =
        cluster_verb("dsn", "how to reach a member", [this](Context& context) { dsn(context, role_, member_); });
    auto* by_role = address->add_option("-r,--role", role_, "default: leader");
    address->add_option("-m,--member", member_, "instead of a role")->excludes(by_role);
    auto* version = app_.add_subcommand("version", "of this program, and of members");
    version->add_option("CLUSTER_NAME", globals_.cluster);
    version->add_option("MEMBER_NAMES", members_.members);
    version->callback([this] {
      chosen_ = [this] {
        fmt::print("{} version {}\n", app_.get_name(), version_);
        if (globals_.cluster.empty()) return;
        Context context(load(globals_), make_kv_);
        member_versions(context, members_.members);
      };
    });
  }
  void add_moving() {
    auto* switching =
        cluster_verb("switchover", "hand the lead over", [this](Context& context) { switchover(context, move_); });
    switching->add_option("--leader,--primary,--master", move_.leader, "who leads now");
    switching->add_option("--scheduled", move_.scheduled, "time, or now");
    auto* failing =
        cluster_verb("failover", "make a member the leader", [this](Context& context) { failover(context, move_); });
    for (auto* sub : {switching, failing}) {
      sub->add_option("--candidate", move_.candidate, "who shall lead");
      sub->add_flag("--force", move_.force, "do not ask");
    }
  }
  void add_members() {
    auto* restarting =
        member_verb("restart", "restart PostgreSQL", [this](Context& context) { restart(context, members_); });
    restarting->add_flag("--any", members_.any, "one of them");
    restarting->add_option("--scheduled", members_.scheduled, "time, or now");
    restarting->add_option("--pg-version", members_.pg_version, "only servers older than this");
    restarting->add_flag("--pending", members_.pending, "only members that wait for a restart");
    restarting->add_flag("--rolling", members_.rolling, "the whole cluster, one after the other, the leader last");
    restarting->add_option("--timeout", members_.timeout, "seconds; longer: the leader fails over");
    member_verb("reload", "read the configuration again", [this](Context& context) { reload(context, members_); });
    auto* copying =
        member_verb("reinit", "make a new copy of a replica", [this](Context& context) { reinit(context, members_); });
    copying->add_flag("--from-leader", members_.from_leader, "copy from the leader, not from a replica");
    copying->add_flag("--wait", members_.wait, "until the copy is complete");
    auto* flushing = verb("flush", "drop a schedule", [this](Context& context) {
      const std::string target = members_.members.back();
      members_.members.pop_back();
      flush(context, members_, target);
    });
    flushing->add_option("CLUSTER_NAME", globals_.cluster)->required();
    flushing->add_option("MEMBER_NAMES_AND_TARGET", members_.members, "members, then restart or switchover")
        ->required();
    flushing->add_option("-r,--role", members_.role, "of the members");
    flushing->add_flag("--force", members_.force, "do not ask");
  }
  void add_changing() {
    for (const bool pausing : {true, false}) {
      cluster_verb(pausing ? "pause" : "resume", pausing ? "maintenance mode" : "end of maintenance mode",
                   [this, pausing](Context& context) { set_pause(context, pausing, wait_); })
          ->add_flag("--wait", wait_, "until every member has seen it");
    }
    auto* editing = cluster_verb("edit-config", "change the dynamic configuration",
                                 [this](Context& context) { edit_config(context, edit_); });
    editing->add_flag("-q,--quiet", edit_.quiet, "do not show the difference");
    editing->add_option("-s,--set", edit_.set, "key.key=value; null deletes")->allow_extra_args(false);
    editing->add_option("-p,--pg", edit_.parameters, "name=value below postgresql.parameters")->allow_extra_args(false);
    editing->add_option("--apply", edit_.apply, "file with a patch, or -");
    editing->add_option("--replace", edit_.replace, "file with everything, or -");
    editing->add_flag("--force", edit_.force, "do not ask");
    auto* removing = verb("remove", "delete all keys of the cluster", [](Context& context) { remove(context); });
    removing->add_option("CLUSTER_NAME", globals_.cluster)->required();
  }

  void add_standby_cluster() {
    auto* demoting = cluster_verb("demote-cluster", "make the cluster a standby of another one",
                                  [this](Context& context) { demote_cluster(context, demote_); });
    demoting->add_option("--host", demote_.host, "of the other cluster");
    demoting->add_option("--port", demote_.port, "of the other cluster")->check(CLI::Range(1, 65535));
    demoting->add_option("--restore-command", demote_.restore_command, "gets its WAL from an archive");
    demoting->add_option("--primary-slot-name", demote_.primary_slot_name, "a slot of the other cluster");
    demoting->add_flag("--force", demote_.force, "do not ask");
    cluster_verb("promote-cluster", "make a standby cluster a cluster of its own", [this](Context& context) {
      promote_cluster(context, demote_.force);
    })->add_flag("--force", demote_.force, "do not ask");
  }
  void add_query() {
    auto* asking = cluster_verb("query", "SQL on a member", [this](Context& context) {
      query_.format = format_of(query_format_);
      query(context, query_, watching());
    });
    asking->add_option("-c,--command", query_.command, "the SQL");
    asking->add_option("-f,--file", query_.file, "a file with the SQL, or -");
    asking->add_option("--format", query_format_, "pretty, tsv, json or yaml")->check(CLI::IsMember(output_formats()));
    asking->add_option("-U,--username", query_.username, "PostgreSQL's user");
    asking->add_flag("--password", query_.ask_password, "ask for the password");
    asking->add_option("-d,--dbname", query_.dbname, "default: postgres");
    asking->add_option("-r,--role", query_.role, "of the member; default: primary");
    asking->add_option("-m,--member", query_.member, "instead of a role");
    asking->add_option("--delimiter", query_.delimiter, "between the columns of tsv");
    add_watching(asking);
  }
  void add_drill() {
    auto* drilling = cluster_verb("drill", "interrupt the living cluster on purpose and measure what clients see",
                                  [this](Context& context) { drill(context, drill_); });
    drilling->add_option("-U,--username", drill_.username, "PostgreSQL's user");
    drilling->add_flag("--password", drill_.ask_password, "ask for the password");
    drilling->add_option("-d,--dbname", drill_.dbname, "default: postgres");
    drilling->add_option("--pooler", drill_.pooler, "host:port of a pooler that routes to the leader");
    drilling->add_flag("--json", drill_.json, "print the result as JSON; needs --force");
    drilling->add_flag("--force", drill_.force, "do not ask");
  }
  void add_completion() {
    auto* sub = app_.add_subcommand("completion", "a completion script for a shell");
    sub->add_option("SHELL", shell_)->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
    sub->callback([this] {
      chosen_ = [this] {
        auto words = words_of(app_);
        words.verbs.insert(words.verbs.end(), others_.begin(), others_.end());
        fmt::print("{}", completion_script(shell_, words));
      };
    });
  }

  CLI::App app_;
  std::string version_;
  const KvFactory& make_kv_;
  std::vector<VerbWords> others_;
  Globals globals_;
  MoveOptions move_;
  MemberOptions members_;
  EditOptions edit_;
  DemoteOptions demote_;
  QueryOptions query_;
  DrillOptions drill_;
  std::string query_format_ = "tsv", shell_;
  std::string format_ = "pretty", role_, member_;
  bool of_config_ = false, extended_ = false, timestamp_ = false, watch_default_ = false, wait_ = false;
  double watch_ = 0;
  std::function<void()> chosen_ = [] {};
};

}  // namespace

int run_ctl(int argc, char** argv, const std::string& program, const std::string& version, const KvFactory& make_kv,
            std::vector<VerbWords> others) {
  return Program(program, version, make_kv, std::move(others)).run(argc, argv);
}

}  // namespace pgvigil::ctl
