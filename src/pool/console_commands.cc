#include "pool/console_commands.h"

#include <strings.h>

#include <array>
#include <charconv>

#include "pool/pool_statistics.h"
#include "pool/show.h"

namespace pgvigil::pool {
namespace {

constexpr std::size_t kQuotedTextMax = 400;

bool same(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

ConsoleReply invalid(std::string_view text) {
  return ConsoleReply::failed(fmt::format("invalid command '{}', use SHOW HELP;", text.substr(0, kQuotedTextMax)));
}

// What drivers ask for and set on their own when they connect.
struct DriverVariable {
  std::string_view name, value;
  Columns columns;
};
const std::vector<DriverVariable>& driver_variables() {
  static const std::vector<DriverVariable> all = {
      {"client_encoding", "UTF-8", {{"client_encoding", pgwire::kText}}},
      {"default_transaction_isolation", "read committed", {{"default_transaction_isolation", pgwire::kText}}},
      {"standard_conforming_strings", "on", {{"standard_conforming_strings", pgwire::kText}}},
      {"datestyle", "ISO", {{"datestyle", pgwire::kText}}},
      {"timezone", "GMT", {{"timezone", pgwire::kText}}},
  };
  return all;
}
const DriverVariable* driver_variable(std::string_view name) {
  for (const auto& variable : driver_variables()) {
    if (same(variable.name, name)) return &variable;
  }
  return nullptr;
}

constexpr std::string_view kUsage =
    "\n"
    "\tSHOW HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION\n"
    "\tSHOW PEERS|PEER_POOLS\n"
    "\tSHOW SOCKETS|ACTIVE_SOCKETS|LISTS|MEM|STATE\n"
    "\tSHOW DNS_HOSTS|DNS_ZONES\n"
    "\tSHOW CLUSTER\n"
    "\tSHOW STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS\n"
    "\tSET key = arg\n"
    "\tRELOAD\n"
    "\tPAUSE [<db>]\n"
    "\tRESUME [<db>]\n"
    "\tDISABLE <db>\n"
    "\tENABLE <db>\n"
    "\tRECONNECT [<db>]\n"
    "\tKILL [<db>]\n"
    "\tKILL_CLIENT <client_id>\n"
    "\tSUSPEND\n"
    "\tWAIT_CLOSE [<db>]\n"
    "\tSHUTDOWN\n"
    "\tSHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS\n";

// One command that runs. Copies are kept by what answers later.
struct Call {
  Control& control;
  const ConsoleCaller& caller;
  const ConsoleCommand& command;
  std::string_view text;
  const ReplyTo& done;

  [[nodiscard]] const std::string& argument() const { return *command.argument; }
  [[nodiscard]] std::string tag() const {
    std::string upper;
    for (const char c : command.name) upper += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    return upper;
  }
  void issued() const {
    PoolLog& log = control.pooler().log;
    if (command.argument) {
      log.put(Level::Log, "{} '{}' command issued", tag(), argument());
    } else {
      log.put(Level::Log, "{} command issued", tag());
    }
  }
  void succeed() const { done(ConsoleReply::done(tag())); }
  void fail(std::string message) const { done(ConsoleReply::failed(std::move(message))); }
  [[nodiscard]] std::function<void(Result<void>)> when_done() const {
    return [reply = done, name = tag()](Result<void> result) {
      reply(result ? ConsoleReply::done(name) : ConsoleReply::failed(result.error().message()));
    };
  }
};

enum class Make : std::uint8_t { No, Automatic };  // may a database of "*" come into being?

// The database that a command is about; null: all. False: it was answered with an error.
bool find_database(const Call& call, Make make, std::string_view cannot, Database*& database) {
  database = nullptr;
  if (!call.command.argument) return true;
  const std::string& name = call.argument();
  if (name == kConsoleName) {
    call.fail(fmt::format("{} admin db: {}", cannot, name));
    return false;
  }
  Catalog& catalog = call.control.pooler().catalog;
  if (make == Make::Automatic) {
    database = catalog.database(name);
  } else {
    for (Database* known : catalog.databases()) {
      if (known->name() == name) database = known;
    }
  }
  if (database == nullptr) call.fail("no such database: " + name);
  return database != nullptr;
}

void reload(const Call& call) {
  call.issued();
  if (!call.control.reload()) {
    return call.done(ConsoleReply::failed("RELOAD failed, see logs for additional details", "F0000"));
  }
  call.succeed();
}

void pause(const Call& call) {
  Database* database = nullptr;
  if (!find_database(call, Make::Automatic, "cannot pause", database)) return;
  call.issued();
  if (auto begun = call.control.pause(database, call.when_done()); !begun) call.fail(begun.error().message());
}

void resume(const Call& call) {
  if (call.command.argument && call.argument() == kConsoleName) {
    return call.fail(fmt::format("database {} is not paused", kConsoleName));
  }
  Database* database = nullptr;
  if (!find_database(call, Make::No, "cannot resume", database)) return;
  call.issued();
  if (auto resumed = call.control.resume(database); !resumed) return call.fail(resumed.error().message());
  call.succeed();
}

void suspend(const Call& call) {
  call.issued();
  if (auto begun = call.control.suspend(call.when_done()); !begun) call.fail(begun.error().message());
}

void reconnect(const Call& call) {
  Database* database = nullptr;
  if (!find_database(call, Make::Automatic, "cannot reconnect", database)) return;
  call.issued();
  call.control.reconnect(database);
  call.succeed();
}

void wait_close(const Call& call) {
  Database* database = nullptr;
  if (!find_database(call, Make::Automatic, "cannot wait in", database)) return;
  call.issued();
  call.control.wait_close(database, [done = call.when_done()] { done({}); });
}

void kill(const Call& call) {
  Database* database = nullptr;
  if (!find_database(call, Make::Automatic, "cannot kill", database)) return;
  call.issued();
  call.control.kill(database);
  call.succeed();
}

void kill_client(const Call& call) {
  std::uint64_t id = 0;
  const std::string text = call.command.argument.value_or("");
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (text.empty() || failure != std::errc() || end != text.data() + text.size()) {
    return call.fail("invalid client pointer supplied");
  }
  call.issued();
  if (call.caller.kill_own && call.caller.kill_own(id)) return call.succeed();
  call.control.kill_client(id, [done = call.when_done()](bool found) {
    if (found) return done({});
    done(pgvigil::fail(Errc::NotFound, "client not found"));
  });
}

void switch_database(const Call& call, bool disabled) {
  if (!call.command.argument) return call.fail("a database is required");
  Database* database = nullptr;
  if (!find_database(call, disabled ? Make::Automatic : Make::No, disabled ? "cannot disable" : "cannot enable",
                     database)) {
    return;
  }
  call.issued();
  call.control.disable(*database, disabled);
  call.succeed();
}
void disable(const Call& call) { switch_database(call, true); }
void enable(const Call& call) { switch_database(call, false); }

void shutdown(const Call& call) {
  if (!call.command.argument) {
    call.issued();
    ConsoleReply reply;
    reply.silent = true;
    reply.after = [&control = call.control] { control.shutdown_now(); };
    return call.done(std::move(reply));
  }
  Shutdown mode{};
  if (same(call.argument(), "wait_for_servers")) {
    mode = Shutdown::WaitForServers;
  } else if (same(call.argument(), "wait_for_clients")) {
    mode = Shutdown::WaitForClients;
  } else {
    return call.done(invalid(call.text));
  }
  call.issued();
  ConsoleReply reply = ConsoleReply::done(call.tag());
  // The reply goes first: what is shut down next may be this very session.
  reply.after = [&control = call.control, mode] { control.shutdown(mode); };
  call.done(std::move(reply));
}

void set(const Call& call) {
  const std::string& key = call.argument();
  if (driver_variable(key) != nullptr) {
    ConsoleReply reply = ConsoleReply::done("SET");
    reply.notices.push_back({"SET ignored", {}});
    return call.done(std::move(reply));
  }
  if (!call.caller.admin) return call.fail("admin access needed");
  call.control.pooler().log.put(Level::Log, "SET {} command issued", key);
  if (!call.control.set(key, call.command.value)) return call.fail("SET failed");
  call.done(ConsoleReply::done(fmt::format("SET {}={}", key, call.command.value)));
}

void show(const Call& call) {
  if (!call.command.argument) return call.done(invalid(call.text));
  ConsoleReply reply = ConsoleReply::done("SHOW");
  if (same(call.argument(), "help")) {
    reply.notices.push_back({"Console usage", std::string(kUsage)});
    return call.done(std::move(reply));
  }
  if (same(call.argument(), "fds")) {
    if (!call.caller.admin) return call.fail("admin access needed");
    return call.fail("SHOW FDS is not supported: use so_reuseport or the handover");
  }
  if (const DriverVariable* variable = driver_variable(call.argument())) {
    reply.columns = &variable->columns;
    reply.rows = {{std::string(variable->value)}};
    return call.done(std::move(reply));
  }
  const ShowTable* table = find_show(call.argument());
  if (table == nullptr) return call.done(invalid(call.text));
  Control& control = call.control;
  take_snapshot(control.pooler(), control.statistics(), control.loop().now(), table->facts,
                [table, done = call.done, add = call.caller.add_sessions](const std::shared_ptr<Snapshot>& snapshot) {
                  if (add && (table->facts & kClientFacts) != 0) add(*snapshot);
                  ConsoleReply shown = ConsoleReply::done("SHOW");
                  shown.columns = &table->columns;
                  shown.rows = table->rows(*snapshot);
                  done(std::move(shown));
                });
}

struct Entry {
  std::string_view name;
  bool takes_argument;
  bool admin;
  void (*run)(const Call& call);
};
constexpr std::array<Entry, 13> kCommands = {{
    {"disable", true, true, disable},
    {"enable", true, true, enable},
    {"kill", true, true, kill},
    {"kill_client", true, true, kill_client},
    {"pause", true, true, pause},
    {"reconnect", true, true, reconnect},
    {"reload", false, true, reload},
    {"resume", true, true, resume},
    {"select", true, false, show},
    {"show", true, false, show},
    {"shutdown", true, true, shutdown},
    {"suspend", false, true, suspend},
    {"wait_close", true, true, wait_close},
}};

}  // namespace

const Columns* result_columns(const ConsoleCommand& command) {
  if (command.kind != ConsoleCommand::Kind::Command || !command.argument) return nullptr;
  if (command.name != "show" && command.name != "select") return nullptr;
  if (const DriverVariable* variable = driver_variable(*command.argument)) return &variable->columns;
  const ShowTable* table = find_show(*command.argument);
  return table == nullptr ? nullptr : &table->columns;
}

void run_console_command(Control& control, const ConsoleCaller& caller, const ConsoleCommand& command,
                         std::string_view text, const ReplyTo& done) {
  const Call call{control, caller, command, text, done};
  using Kind = ConsoleCommand::Kind;
  if (command.kind == Kind::BadArguments) return call.fail("bad arguments");
  if (command.kind == Kind::Set) return set(call);
  if (command.kind == Kind::Command) {
    for (const Entry& entry : kCommands) {
      if (entry.name != command.name) continue;
      if (entry.admin && !caller.admin) return call.fail("admin access needed");
      if (!entry.takes_argument && command.argument) break;
      return entry.run(call);
    }
  }
  done(invalid(text));
}

}  // namespace pgvigil::pool
