#include "app/agent_command.h"

#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdio>

#include "app/generate_config.h"
#include "app/run_agent.h"
#include "app/up/ports.h"
#include "config/check.h"
#include "config/examine.h"
#include "config/sample.h"
#include "config/scalars.h"
#include "config/secrets.h"
#include "config/server_parameters.h"
#include "ctl/yaml_text.h"
#include "postgres/child_task.h"

namespace pgvigil::app {
namespace {

constexpr Duration kDescribe = std::chrono::seconds(5);
constexpr std::size_t kDescriptionMax = std::size_t{1024} * 1024;

int failure(const Error& error) {
  fmt::print(stderr, "pgvigil: {}\n", error.message());
  return 1;
}

// Into the file, which may hold secrets later and is for its owner only, or to standard output.
int deliver(const std::string& text, const std::string& file) {
  if (file.empty()) {
    fmt::print("{}", text);
    return 0;
  }
  const int fd = open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const bool written = fd >= 0 && write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  if (fd >= 0) close(fd);
  if (!written) return failure(Error{Errc::Failed, "cannot write", file, errno_text(error), {}});
  return 0;
}

// One line for each port that somebody else holds.
bool ports_are_free(const config::AgentConfig& config) {
  bool free = true;
  const auto look = [&](const char* key, std::uint16_t port) {
    const auto holder = port_holder(port);
    if (!holder) return;
    fmt::print("{}: port {} is taken by {}\n", key, port, *holder);
    free = false;
  };
  look("restapi.listen", config.restapi.listen.port);
  look("postgresql.listen", config.postgresql.port);
  return free;
}

// The server's own list, which needs no data directory and no user of its own.
std::string describe_parameters(const std::string& bin_dir) {
  asio::io_context loop(1);
  const auto clock = make_system_clock(loop.get_executor());
  postgres::ChildSpec spec;
  spec.argv = {bin_dir.empty() ? "postgres" : bin_dir + "/postgres", "--describe-config"};
  spec.output_limit = kDescriptionMax;
  std::string text;
  auto work = [](Clock& time, postgres::ChildSpec child, std::string& out, asio::io_context& until) -> Task<void> {
    const TimePoint deadline = time.now() + kDescribe;
    auto ended = co_await postgres::run_program(time, std::move(child), deadline);
    if (ended && ended->ok()) out = std::move(ended->output);
    until.stop();  // the clock's timer never runs out of work
  };
  asio::co_spawn(loop, work(*clock, std::move(spec), text, loop), asio::detached);
  loop.run();
  return text;
}

void check_parameters(const std::string& file_or_directory, config::Problems& problems) {
  const auto examined = config::examine(file_or_directory, config::process_environment(), config::Purpose::Agent);
  if (!examined) return;
  const auto known = config::parse_described(describe_parameters(examined->config.postgresql.bin_dir));
  for (const char* path : {"postgresql.parameters", "bootstrap.dcs.postgresql.parameters"}) {
    if (const auto* parameters = examined->root.at(path)) {
      config::check_server_parameters(*parameters, path, known, problems);
    }
  }
}

int validate(const std::string& file, bool ignore_ports, bool print) {
  if (const int status = check_config(file); status != 0) return status;
  auto examined = config::examine(file, config::process_environment(), config::Purpose::Agent);
  if (!examined) return failure(examined.error());
  if (print) {
    config::hide_secrets(examined->root);
    fmt::print("{}", ctl::yaml_of(config::to_json(examined->root)));
  }
  return ignore_ports || ports_are_free(examined->config) ? 0 : 1;
}

}  // namespace

int check_config(const std::string& file_or_directory) {
  auto problems = config::check_config(file_or_directory, config::process_environment());
  check_parameters(file_or_directory, problems);
  for (const auto& problem : problems) fmt::print("{}\n", problem.message());
  if (config::has_errors(problems)) return 1;
  fmt::print("{}: the configuration is valid\n", file_or_directory);
  return 0;
}

int run_agent_command(const std::string& program, const std::vector<std::string>& arguments) {
  CLI::App app("Runs the agent of one PostgreSQL node", program);
  std::string file, dsn;
  bool version = false, check = false, ignore_ports = false, print = false, generate = false, sample = false;
  app.add_option("FILE", file, "configuration file or directory; for --generate-*: where to write");
  app.add_flag("--version", version, "print the version");
  app.add_flag("--validate-config", check, "say what is wrong with the configuration");
  app.add_flag("-i,--ignore-listen-port", ignore_ports, "with --validate-config: ports may be taken");
  app.add_flag("-p,--print", print, "with --validate-config: print the configuration, environment included");
  app.add_flag("--generate-config", generate, "make a configuration for a running server");
  app.add_flag("--generate-sample-config", sample, "make a configuration to start from");
  app.add_option("--dsn", dsn, "with --generate-config: how to reach the server as superuser");
  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
    app.parse(reversed);
  } catch (const CLI::ParseError& end) {
    return app.exit(end) == 0 ? 0 : 2;
  }
  if (version) {
    fmt::print("{} {}\n", program, PGVIGIL_VERSION);
    return 0;
  }
  if (sample) return deliver(config::sample_config(), file);
  if (generate) {
    auto text = generate_config(dsn);
    return text ? deliver(*text, file) : failure(text.error());
  }
  if (check) return validate(file, ignore_ports, print);
  return run_agent(file);
}

}  // namespace pgvigil::app
