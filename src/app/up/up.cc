#include "app/up/up.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "app/up/deployment.h"
#include "app/up/ports.h"
#include "ctl/http_client.h"
#include "postgres/spawn.h"

namespace pgvigil::app {
namespace {

constexpr const char* kServerUser = "postgres";
constexpr auto kHealthyMax = std::chrono::minutes(3);
constexpr auto kStopMax = std::chrono::seconds(90);
constexpr auto kTransactionsMax = std::chrono::seconds(5);
constexpr auto kLook = std::chrono::milliseconds(200);
using SteadyClock = std::chrono::steady_clock;

volatile sig_atomic_t interrupted = 0;
void on_interrupt(int) { interrupted = 1; }

struct UpOptions {
  std::string directory;
  int port_offset = 0;
  bool offset_given = false, detach = false, purge = false;
};

[[noreturn]] void usage(const char* verb) {
  fmt::print(stderr, "usage: pgvigil {} [--dir DIR] {}\n", verb,
             std::string(verb) == "up" ? "[--port-offset N] [--detach]" : "[--purge]");
  std::exit(2);
}

UpOptions parse(const char* verb, const std::vector<std::string>& arguments) {
  UpOptions options;
  const bool up = std::string(verb) == "up";
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    std::string name = arguments[i];
    std::string value;
    bool has_value = false;
    if (const auto equals = name.find('='); equals != std::string::npos) {
      value = name.substr(equals + 1);
      name.resize(equals);
      has_value = true;
    }
    const auto take = [&]() -> std::string {
      if (has_value) return value;
      if (i + 1 >= arguments.size()) usage(verb);
      return arguments[++i];
    };
    if (name == "--dir") {
      options.directory = std::filesystem::absolute(take());
    } else if (up && name == "--port-offset") {
      const std::string number = take();
      options.port_offset = std::atoi(number.c_str());
      options.offset_given = true;
      if (number.empty() || number.find_first_not_of("0123456789") != std::string::npos ||
          options.port_offset > 40000) {
        fmt::print(stderr, "pgvigil: --port-offset {}: a number from 0 to 40000 is expected\n", number);
        std::exit(2);
      }
    } else if (up && name == "--detach" && !has_value) {
      options.detach = true;
    } else if (!up && name == "--purge" && !has_value) {
      options.purge = true;
    } else {
      usage(verb);
    }
  }
  return options;
}

int failure(const Error& error) {
  fmt::print(stderr, "pgvigil: {}\n", error.message());
  return 1;
}

// PostgreSQL refuses to run as root; then the whole deployment belongs to the user of Debian's package.
Result<void> leave_root(UpOptions& options, bool say) {
  const char* home = std::getenv("HOME");
  std::string base = home != nullptr ? home : "/tmp";
  const passwd* user = nullptr;
  if (geteuid() == 0) {
    user = getpwnam(kServerUser);
    if (user == nullptr) {
      return fail(Errc::NotFound, "PostgreSQL does not run as root, and there is no user", kServerUser, {},
                  "apt-get install postgresql");
    }
    base = user->pw_dir;
  }
  if (options.directory.empty()) {
    const char* set = std::getenv("PGVIGIL_DIR");
    options.directory = set != nullptr ? set : base + "/.local/share/pgvigil/lakehouse";
  }
  if (user == nullptr) return {};
  if (say)
    fmt::print("PostgreSQL does not run as root: everything runs as the user {}, in {}\n", kServerUser,
               options.directory);
  std::filesystem::path made;
  for (const auto& piece : std::filesystem::path(options.directory)) {
    made /= piece;
    std::error_code ignored;
    if (!std::filesystem::exists(made, ignored)) {
      std::filesystem::create_directory(made, ignored);
      if (chown(made.c_str(), user->pw_uid, user->pw_gid) != 0) {
        return fail(Errc::Failed, "cannot give the directory to the user postgres", made, errno_text(errno));
      }
    }
  }
  return {};
}

Result<void> become_server_user() {
  if (geteuid() != 0) return {};
  const passwd* user = getpwnam(kServerUser);
  if (user == nullptr || initgroups(kServerUser, user->pw_gid) != 0 || setgid(user->pw_gid) != 0 ||
      setuid(user->pw_uid) != 0) {
    return fail(Errc::Failed, "cannot become the user", kServerUser, errno_text(errno));
  }
  setenv("HOME", user->pw_dir, 1);
  if (chdir("/") != 0) return fail(Errc::Failed, "cannot change the directory", "/", errno_text(errno));
  return {};
}

// The programs are started from the deployment's own copy: ours may lie where the server's user cannot go.
Result<void> install_programs(const std::string& directory) {
  std::error_code error;
  const auto here = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  const std::filesystem::path target = directory + "/bin";
  std::filesystem::create_directories(target, error);
  if (const passwd* user = geteuid() == 0 ? getpwnam(kServerUser) : nullptr; user != nullptr) {
    if (chown(target.c_str(), user->pw_uid, user->pw_gid) != 0) {
      return fail(Errc::Failed, "cannot give the directory to the user postgres", target.string(), errno_text(errno));
    }
  }
  for (const char* name : {"pgvigil", "pgvigil-guard"}) {
    const auto next = target / (std::string(name) + ".new");
    std::filesystem::copy_file(here / name, next, std::filesystem::copy_options::overwrite_existing, error);
    if (error) return fail(Errc::Failed, "cannot copy the program", (here / name).string(), error.message());
    std::filesystem::rename(next, target / name, error);
    if (error) return fail(Errc::Failed, "cannot install the program", (target / name).string(), error.message());
    std::filesystem::permissions(target / name, std::filesystem::perms(0755), error);
  }
  return {};
}

Result<void> start(const Part& part) {
  const int log = open(part.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log < 0) return fail(Errc::Failed, "cannot write the log", part.log, errno_text(errno));
  postgres::SpawnOptions options;
  options.argv = part.argv;
  options.environment = postgres::child_environment({});
  options.directory = part.directory;
  options.out = log;
  options.err = log;
  options.own_session = true;
  auto started = postgres::spawn(options);
  close(log);
  if (!started) return tl::make_unexpected(started.error());
  std::ofstream(part.pid_file) << started->pid << "\n";
  return {};
}

struct NodeState {
  std::string role = "-", state = "no answer", replication;
  long timeline = 0;
  [[nodiscard]] bool leads() const { return role == "primary" && state == "running"; }
};

NodeState state_of(ctl::HttpClient& http, const Part& part) {
  NodeState node;
  const auto reply = http.request(fmt::format("http://127.0.0.1:{}", part.port("rest")), "GET", "/patroni", {},
                                  std::chrono::seconds(2));
  if (!reply) return node;
  const auto json = nlohmann::json::parse(reply->body, nullptr, false);
  if (!json.is_object()) return node;
  node.role = json.value("role", "-");
  node.state = json.value("state", "-");
  node.replication = json.value("replication_state", "");
  node.timeline = json.value("timeline", 0L);
  return node;
}

bool healthy(ctl::HttpClient& http, const Deployment& deployment) {
  bool leader = false;
  bool all = true;
  for (const auto& part : deployment.parts) {
    if (part.kind == "pooler") all = all && port_holder(part.port("writes")).has_value();
    if (part.kind != "agent") continue;
    const auto node = state_of(http, part);
    leader = leader || node.leads();
    all = all && (node.leads() || node.replication == "streaming");
  }
  return leader && all;
}

std::string status_line(ctl::HttpClient& http, const Deployment& deployment) {
  std::string text;
  for (const auto& part : deployment.parts) {
    if (part.kind != "agent") continue;
    const auto node = state_of(http, part);
    text += fmt::format("{}{}: {}, {}{}", text.empty() ? "" : "   ", part.name, node.role,
                        node.replication.empty() ? node.state : node.replication,
                        node.timeline > 0 ? fmt::format(", timeline {}", node.timeline) : "");
  }
  return text;
}

void reap() {
  while (waitpid(-1, nullptr, WNOHANG) > 0) {
  }
}

bool wait_end(const Deployment& deployment, const Part& part, SteadyClock::duration limit = kStopMax) {
  const auto until = SteadyClock::now() + limit;
  while (running_pid(deployment, part) != 0 && SteadyClock::now() < until) {
    reap();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return running_pid(deployment, part) == 0;
}

// A pooler waits for transactions to end; a second signal ends it at once.
bool stop_pooler(const Deployment& deployment, const Part& part) {
  for (int attempt = 0; attempt < 2; ++attempt) {
    kill(running_pid(deployment, part), SIGINT);
    if (wait_end(deployment, part, kTransactionsMax)) return true;
  }
  return false;
}

// The pooler before all, so that its clients see one orderly end. Replicas first, so that nobody takes the lead over
// for a moment; etcd last, for the leader needs it to leave cleanly.
Result<void> stop_all(const Deployment& deployment) {
  ctl::HttpClient http;
  PGV_TRY_VOID(http.configure({}, {}));
  std::vector<const Part*> order;
  for (const auto& part : deployment.parts) {
    if (part.kind == "pooler") order.push_back(&part);
  }
  for (const auto& part : deployment.parts) {
    if (part.kind == "agent" && !state_of(http, part).leads()) order.push_back(&part);
  }
  for (const auto& part : deployment.parts) {
    if (part.kind == "agent" && std::find(order.begin(), order.end(), &part) == order.end()) order.push_back(&part);
  }
  for (const auto& part : deployment.parts) {
    if (part.kind == "etcd") order.push_back(&part);
  }
  for (const auto* part : order) {
    const pid_t pid = running_pid(deployment, *part);
    if (pid == 0) continue;
    if (part->kind != "pooler") kill(pid, SIGTERM);
    if (part->kind == "pooler" ? !stop_pooler(deployment, *part) : !wait_end(deployment, *part)) {
      return fail(Errc::Timeout, "it does not stop", fmt::format("{} (pid {})", part->name, pid), {},
                  "look at " + part->log);
    }
    std::error_code ignored;
    std::filesystem::remove(part->pid_file, ignored);
    fmt::print("stopped {}\n", part->name);
    std::fflush(stdout);
  }
  return {};
}

Result<void> check_ports(const Deployment& deployment) {
  for (const auto& part : deployment.parts) {
    if (running_pid(deployment, part) != 0) continue;
    for (const auto& [purpose, port] : part.ports) {
      const auto holder = port_holder(port);
      if (!holder) continue;
      return fail(Errc::Refused, fmt::format("port {} ({} of {}) is taken by {}", port, purpose, part.name, *holder),
                  {}, {}, "stop it, or move all ports: pgvigil up --port-offset 10000");
    }
  }
  return {};
}

Result<void> wait_healthy(const Deployment& deployment, ctl::HttpClient& http) {
  const auto until = SteadyClock::now() + kHealthyMax;
  while (!healthy(http, deployment)) {
    if (interrupted != 0) return fail(Errc::Cancelled, "interrupted");
    reap();
    for (const auto& part : deployment.parts) {
      if (running_pid(deployment, part) == 0) {
        return fail(Errc::Failed, part.name + " has ended", {}, {}, "look at " + part.log);
      }
    }
    if (SteadyClock::now() > until) {
      return fail(Errc::Timeout, "the cluster is not healthy", deployment.directory, status_line(http, deployment),
                  "look at the logs there");
    }
    std::this_thread::sleep_for(kLook);
  }
  return {};
}

void tell(const Deployment& deployment) {
  fmt::print("The cluster is healthy. Try:\n");
  for (const auto& part : deployment.parts) {
    if (part.kind == "agent") {
      fmt::print("  curl -s http://localhost:{}/patroni\n", part.port("rest"));
      fmt::print("  PGPASSFILE={}/pgpass psql -h localhost -p {} -U postgres\n", deployment.directory,
                 part.port("postgresql"));
    }
  }
  for (const auto& part : deployment.parts) {
    if (part.kind != "pooler") continue;
    for (const char* database : {"postgres", "pgbouncer -c 'SHOW CLUSTER'"}) {
      fmt::print("  PGPASSFILE={}/pgpass psql -h localhost -p {} -U postgres -d {}\n", deployment.directory,
                 part.port("writes"), database);
    }
    fmt::print("  PGPASSFILE={}/pgpass psql -h localhost -p {} -U postgres    # reads, on a replica\n",
               deployment.directory, part.port("reads"));
  }
  fmt::print("  pgvigil -c {}/ctl.yml list\n", deployment.directory);
  std::fflush(stdout);
}

// Until Ctrl-C: one line that is renewed on a terminal, a line for each change elsewhere.
void watch(const Deployment& deployment, ctl::HttpClient& http) {
  const bool terminal = isatty(STDOUT_FILENO) != 0;
  std::string last;
  while (interrupted == 0) {
    reap();
    const std::string line = status_line(http, deployment);
    if (line != last) {
      fmt::print("{}{}{}", terminal ? "\r\033[K" : "", line, terminal ? "" : "\n");
      std::fflush(stdout);
      last = line;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
  fmt::print("\n");
}

Result<void> up(const Deployment& deployment, bool detach) {
  ctl::HttpClient http;
  PGV_TRY_VOID(http.configure({}, {}));
  PGV_TRY_VOID(check_ports(deployment));
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  for (const int number : {SIGINT, SIGTERM}) sigaction(number, &action, nullptr);
  bool anything = false;
  for (const auto& part : deployment.parts) {
    if (running_pid(deployment, part) != 0) continue;
    PGV_TRY_VOID(start(part));
    anything = true;
    fmt::print("started {}\n", part.name);
    std::fflush(stdout);
    // The reference's first node creates the cluster; which one does is settled by etcd, but this keeps the names.
    if (part.name == "postgresql-patroni-1") {
      const auto until = SteadyClock::now() + std::chrono::seconds(60);
      while (interrupted == 0 && SteadyClock::now() < until && state_of(http, part).state != "running") {
        reap();
        if (running_pid(deployment, part) == 0) break;
        std::this_thread::sleep_for(kLook);
      }
    }
  }
  if (!anything) fmt::print("everything runs already\n");
  auto ready = wait_healthy(deployment, http);
  if (!ready) {
    if (!detach || interrupted != 0) (void)stop_all(deployment);
    return ready;
  }
  tell(deployment);
  if (detach) return {};
  fmt::print("Ctrl-C stops everything.\n");
  std::fflush(stdout);
  watch(deployment, http);
  return stop_all(deployment);
}

}  // namespace

int run_up(const std::vector<std::string>& arguments) {
  auto options = parse("up", arguments);
  if (const auto done = leave_root(options, true); !done) return failure(done.error());
  // As root still: our own program may lie where the server's user cannot read.
  if (const auto done = install_programs(options.directory); !done) return failure(done.error());
  if (const auto done = become_server_user(); !done) return failure(done.error());
  if (const auto known = read_deployment(options.directory); known && !options.offset_given) {
    options.port_offset = known->port_offset;
  }
  const auto deployment = plan_deployment(options.directory, options.port_offset);
  if (const auto done = check_ports(deployment); !done) return failure(done.error());
  if (const auto done = write_deployment(deployment); !done) return failure(done.error());
  if (const auto done = up(deployment, options.detach); !done) return failure(done.error());
  return 0;
}

int run_down(const std::vector<std::string>& arguments) {
  auto options = parse("down", arguments);
  if (const auto done = leave_root(options, false); !done) return failure(done.error());
  if (const auto done = become_server_user(); !done) return failure(done.error());
  const auto deployment = read_deployment(options.directory);
  if (!deployment) return failure(deployment.error());
  if (const auto done = stop_all(*deployment); !done) return failure(done.error());
  if (options.purge) {
    std::error_code error;
    std::filesystem::remove_all(options.directory, error);
    if (error)
      return failure(Error{Errc::Failed, "cannot remove the deployment", options.directory, error.message(), {}});
    fmt::print("removed {}\n", options.directory);
  }
  return 0;
}

}  // namespace pgvigil::app
