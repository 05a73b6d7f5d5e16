// The names by which we are started, and what each of them does.
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "app/run_agent.h"
#include "config/check.h"

namespace {

constexpr const char* kUsage =
    "pgvigil " PGVIGIL_VERSION
    ": PostgreSQL high availability\n"
    "\n"
    "  pgvigil agent FILE          run the agent of one PostgreSQL node (also as `patroni FILE`)\n"
    "  pgvigil check-config FILE   say what is wrong with an agent's configuration\n"
    "  pgvigil version\n";

int check_config(const std::string& file) {
  const auto problems = pgvigil::config::check_config(file, pgvigil::config::process_environment());
  for (const auto& problem : problems) std::printf("%s\n", problem.message().c_str());
  if (pgvigil::config::has_errors(problems)) return 1;
  std::printf("%s: the configuration is valid\n", file.c_str());
  return 0;
}

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
  if (verb == "check-config" && arguments.size() == 2) return check_config(arguments[1]);
  if (verb == "version" || verb == "--version") {
    std::printf("pgvigil %s\n", PGVIGIL_VERSION);
    return 0;
  }
  const bool help = verb == "help" || verb == "--help" || verb == "-h";
  std::fputs(kUsage, help ? stdout : stderr);
  return help ? 0 : 2;
}
