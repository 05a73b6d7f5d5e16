#include "app/pool_command.h"

#include <fmt/format.h>
#include <getopt.h>

#include <cstdlib>

#include "app/follow_cluster.h"
#include "app/service_notify.h"
#include "pool/run_pool.h"

namespace pgvigil::app {
namespace {

constexpr const char* kOptions = R"(
Options:
  -d, --daemon         run in background (as a daemon)
  -q, --quiet          run quietly
  -R, --reboot, --handover
                       take over from the running pooler, which keeps its clients until they leave
  -u, --user=USERNAME  assume identity of USERNAME
  -v, --verbose        increase verbosity
  -V, --version        show version, then exit
  -h, --help           show this help, then exit
)";

void usage(const std::string& program) {
  fmt::print("{0} is a connection pooler for PostgreSQL.\n\nUsage:\n  {0} [OPTION]... CONFIG_FILE\n{1}", program,
             kOptions);
}

int hint(const std::string& program) {
  fmt::print(stderr, "Try \"{} --help\" for more information.\n", program);
  return 1;
}

}  // namespace

int run_pool_command(const std::string& program, const std::vector<std::string>& arguments) {
  constexpr int kHandover = 256;
  static const option kLong[] = {{"daemon", no_argument, nullptr, 'd'},
                                 {"quiet", no_argument, nullptr, 'q'},
                                 {"reboot", no_argument, nullptr, 'R'},
                                 {"handover", no_argument, nullptr, kHandover},
                                 {"user", required_argument, nullptr, 'u'},
                                 {"verbose", no_argument, nullptr, 'v'},
                                 {"version", no_argument, nullptr, 'V'},
                                 {"help", no_argument, nullptr, 'h'},
                                 {nullptr, 0, nullptr, 0}};
  std::vector<std::string> words{program};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pool::PoolOptions options;
  options.version = PGVIGIL_VERSION;
  const int argc = static_cast<int>(words.size());
  for (int c = 0; (c = getopt_long(argc, argv.data(), "dqRu:vVh", kLong, nullptr)) != -1;) {
    switch (c) {
      case 'd': options.daemon = true; break;
      case 'q': options.quiet = true; break;
      case 'R':
      case kHandover: options.take_over = true; break;
      case 'u': options.user = optarg; break;
      case 'v': ++options.verbose; break;
      case 'V': fmt::print("{}", pool::pool_version_text(PGVIGIL_VERSION)); return 0;
      case 'h': usage(program); return 0;
      default: return hint(program);
    }
  }
  if (optind >= argc) {
    fmt::print(stderr, "{}: no configuration file specified\n", program);
    return hint(program);
  }
  if (optind + 1 < argc) {
    fmt::print(stderr, "{}: too many command-line arguments (first is \"{}\")\n", program, argv[optind + 1]);
    return hint(program);
  }
  options.file = argv[optind];
  const char* address = std::getenv("NOTIFY_SOCKET");
  const ServiceNotify notify(address != nullptr ? address : "");
  options.notify = [&notify](const std::string& state) { notify.send(state); };
  options.start_follower = follow_cluster;
  return pool::run_pool(options);
}

}  // namespace pgvigil::app
