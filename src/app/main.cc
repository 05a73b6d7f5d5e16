// The names by which we are started, and what each of them does.
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "app/agent_command.h"
#include "app/etcd_options.h"
#include "app/healthcheck.h"
#include "app/pool_command.h"
#include "app/up/up.h"
#include "ctl/run.h"
#include "dcs/etcd/etcd_store.h"

namespace {

constexpr const char* kUsage =
    "pgvigil " PGVIGIL_VERSION
    ": PostgreSQL high availability\n"
    "\n"
    "  pgvigil agent FILE          run the agent of one PostgreSQL node (also as `patroni FILE`)\n"
    "  pgvigil agent --generate-config | --generate-sample-config | --validate-config\n"
    "                              a configuration for a running server, one to start from, or what is wrong with one\n"
    "  pgvigil pool FILE           run the connection pooler (also as `pgbouncer FILE`)\n"
    "  pgvigil up | down           the reference deployment on this machine\n"
    "  pgvigil check-config FILE   say what is wrong with an agent's configuration\n"
    "  pgvigil healthcheck FILE [CHECK]\n"
    "                              exit status 0 when this node's agent says 200 (health, primary, replica, ...)\n"
    "  pgvigil completion SHELL    a completion script for bash, zsh or fish\n"
    "  pgvigil list | topology | history | dsn | query | version | show-config | edit-config\n"
    "  pgvigil switchover | failover | restart | reload | reinit | flush | pause | resume | remove\n"
    "  pgvigil demote-cluster | promote-cluster\n"
    "                              operate a cluster (also as `patronictl`); --help after the verb tells more\n";

// The verbs that are not parsed by ctl.
std::vector<pgvigil::ctl::VerbWords> other_verbs() {
  using pgvigil::ctl::OptionWords;
  const OptionWords directory{{"--dir"}, "where the deployment is", true, {}};
  return {
      {"agent",
       "run the agent of one PostgreSQL node",
       {{{"--validate-config"}, "say what is wrong with the configuration", false, {}},
        {{"--generate-config"}, "a configuration for a running server", false, {}},
        {{"--generate-sample-config"}, "a configuration to start from", false, {}},
        {{"--dsn"}, "of the running server", true, {}},
        {{"-i", "--ignore-listen-port"}, "ports may be taken", false, {}},
        {{"-p", "--print"}, "print the configuration", false, {}}}},
      {"pool",
       "run the connection pooler",
       {{{"-d", "--daemon"}, "run in the background", false, {}},
        {{"-q", "--quiet"}, "no log lines on standard error", false, {}},
        {{"-R", "--handover"}, "take over from the running pooler", false, {}},
        {{"-v", "--verbose"}, "more log lines", false, {}},
        {{"-u", "--user"}, "run as this user", true, {}}}},
      {"up",
       "the reference deployment on this machine",
       {directory,
        {{"--port-offset"}, "added to all ports", true, {}},
        {{"--detach"}, "return once it is healthy", false, {}}}},
      {"down", "stop the reference deployment", {directory, {{"--purge"}, "remove its data too", false, {}}}},
      {"check-config", "say what is wrong with an agent's configuration", {}},
      {"healthcheck", "ask this node's agent", {}},
  };
}

pgvigil::Result<std::unique_ptr<pgvigil::dcs::KvStore>> make_kv(pgvigil::Clock& clock, pgvigil::Log log,
                                                                const pgvigil::config::EtcdConfig& etcd) {
  PGV_TRY(options, pgvigil::app::etcd_options(etcd));
  return pgvigil::dcs::make_etcd_store(clock, log, std::move(options));
}

bool is_help(const std::string& word) { return word == "help" || word == "--help" || word == "-h"; }

}  // namespace

int main(int argc, char** argv) {
  const std::string name = std::filesystem::path(argc > 0 ? argv[0] : "pgvigil").filename().string();
  std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
  if (name == "patroni") return pgvigil::app::run_agent_command("patroni", arguments);
  if (name == "pgbouncer") return pgvigil::app::run_pool_command("pgbouncer", arguments);
  const std::string verb = arguments.empty() ? "" : arguments[0];
  const std::vector<std::string> rest(arguments.begin() + (arguments.empty() ? 0 : 1), arguments.end());
  if (verb == "agent") return pgvigil::app::run_agent_command("pgvigil agent", rest);
  if (verb == "pool") return pgvigil::app::run_pool_command("pgvigil pool", rest);
  if (verb == "healthcheck") return pgvigil::app::run_healthcheck(rest);
  if (verb == "up") return pgvigil::app::run_up(rest);
  if (verb == "down") return pgvigil::app::run_down(rest);
  if (verb == "check-config" && arguments.size() == 2) return pgvigil::app::check_config(arguments[1]);
  if (verb == "--version") {
    std::printf("pgvigil %s\n", PGVIGIL_VERSION);
    return 0;
  }
  if (name != "patronictl" && (verb.empty() || is_help(verb))) {
    std::fputs(kUsage, verb.empty() ? stderr : stdout);
    return verb.empty() ? 2 : 0;
  }
  return pgvigil::ctl::run_ctl(argc, argv, name, PGVIGIL_VERSION, make_kv, other_verbs());
}
