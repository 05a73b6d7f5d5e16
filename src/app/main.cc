// The names by which we are started, and what each of them does.
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "app/etcd_options.h"
#include "app/healthcheck.h"
#include "app/run_agent.h"
#include "app/up/up.h"
#include "config/check.h"
#include "ctl/run.h"
#include "dcs/etcd/etcd_store.h"

namespace {

constexpr const char* kUsage =
    "pgvigil " PGVIGIL_VERSION
    ": PostgreSQL high availability\n"
    "\n"
    "  pgvigil agent FILE          run the agent of one PostgreSQL node (also as `patroni FILE`)\n"
    "  pgvigil up | down           the reference deployment on this machine\n"
    "  pgvigil check-config FILE   say what is wrong with an agent's configuration\n"
    "  pgvigil healthcheck FILE [CHECK]\n"
    "                              exit status 0 when this node's agent says 200 (health, primary, replica, ...)\n"
    "  pgvigil list | topology | history | dsn | version | show-config | edit-config\n"
    "  pgvigil switchover | failover | restart | reload | reinit | flush | pause | resume | remove\n"
    "                              operate a cluster (also as `patronictl`); --help after the verb tells more\n";

int check_config(const std::string& file) {
  const auto problems = pgvigil::config::check_config(file, pgvigil::config::process_environment());
  for (const auto& problem : problems) std::printf("%s\n", problem.message().c_str());
  if (pgvigil::config::has_errors(problems)) return 1;
  std::printf("%s: the configuration is valid\n", file.c_str());
  return 0;
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
  if (name == "patroni") {
    const bool help = !arguments.empty() && (arguments[0] == "--help" || arguments[0] == "-h");
    if (help || arguments.size() > 1) {
      std::fputs("usage: patroni FILE\n", help ? stdout : stderr);
      return help ? 0 : 2;
    }
    return pgvigil::app::run_agent(arguments.empty() ? "" : arguments[0]);
  }
  const std::string verb = arguments.empty() ? "" : arguments[0];
  if (verb == "agent" && arguments.size() == 2) return pgvigil::app::run_agent(arguments[1]);
  const std::vector<std::string> rest(arguments.begin() + (arguments.empty() ? 0 : 1), arguments.end());
  if (verb == "healthcheck") return pgvigil::app::run_healthcheck(rest);
  if (verb == "up") return pgvigil::app::run_up(rest);
  if (verb == "down") return pgvigil::app::run_down(rest);
  if (verb == "check-config" && arguments.size() == 2) return check_config(arguments[1]);
  if (verb == "--version") {
    std::printf("pgvigil %s\n", PGVIGIL_VERSION);
    return 0;
  }
  if (name != "patronictl" && (verb.empty() || is_help(verb))) {
    std::fputs(kUsage, verb.empty() ? stderr : stdout);
    return verb.empty() ? 2 : 0;
  }
  return pgvigil::ctl::run_ctl(argc, argv, name, PGVIGIL_VERSION, make_kv);
}
