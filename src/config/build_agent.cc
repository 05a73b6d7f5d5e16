#include <fmt/format.h>

#include <algorithm>

#include "config/build.h"
#include "config/reader.h"
#include "config/scalars.h"
#include "config/settings_table.h"

namespace pgvigil::config {

namespace {

using Severity = Problem::Severity;

LogLevel log_level(std::string word) {
  std::transform(word.begin(), word.end(), word.begin(), [](unsigned char c) { return std::toupper(c); });
  if (word == "DEBUG") return LogLevel::Debug;
  if (word == "WARNING" || word == "WARN") return LogLevel::Warning;
  if (word == "ERROR") return LogLevel::Error;
  if (word == "CRITICAL" || word == "FATAL") return LogLevel::Critical;
  return LogLevel::Info;
}

void build_log(const Reader& reader, LogSettings& log) {
  log.level = log_level(reader.text("log.level"));
  log.json = reader.text("log.type") == "json";
  log.directory = reader.text("log.dir");
  log.file_count = static_cast<std::uint32_t>(reader.number("log.file_num"));
  log.file_bytes = static_cast<std::uint64_t>(reader.number("log.file_size"));
}

void build_watchdog(const Reader& reader, WatchdogConfig& watchdog) {
  std::string mode = reader.text("watchdog.mode");
  std::transform(mode.begin(), mode.end(), mode.begin(), [](unsigned char c) { return std::tolower(c); });
  if (mode == "off" || mode == "false" || mode.starts_with("disable")) {
    watchdog.mode = WatchdogConfig::Mode::Off;
  } else if (mode.starts_with("require")) {
    watchdog.mode = WatchdogConfig::Mode::Required;
  }
  watchdog.driver = reader.text("watchdog.driver");
  watchdog.device = reader.text("watchdog.device");
  watchdog.safety_margin = std::chrono::seconds(reader.number("watchdog.safety_margin"));
}

bool flag(const Value* value) {
  return value != nullptr && value->is_scalar() && parse_boolean(value->text).value_or(false);
}

std::int64_t priority(const Value* value, std::int64_t fallback) {
  if (value == nullptr || !value->is_scalar()) return fallback;
  const auto number = parse_number(value->text, Unit::Plain);
  return number ? std::clamp<std::int64_t>(*number, -1'000'000, 1'000'000) : fallback;
}

// nofailover beside failover_priority, nosync beside sync_priority: the flag, if given at all, wins.
std::pair<bool, int> flag_and_priority(const Value& tags, std::string_view flag_key, std::string_view priority_key) {
  const Value* given = tags.find(flag_key);
  std::int64_t number = priority(tags.find(priority_key), 1);
  if (given != nullptr && !given->is_null()) {
    const bool on = flag(given);
    number = on ? 0 : number <= 0 ? 1 : number;
    return {on, static_cast<int>(number)};
  }
  return {number <= 0, static_cast<int>(number)};
}

void build_tags(const Value& root, AgentConfig& config) {
  const Value* tags = root.find("tags");
  if (tags == nullptr || !tags->is_map()) return;
  std::tie(config.tags.nofailover, config.tags.failover_priority) =
      flag_and_priority(*tags, "nofailover", "failover_priority");
  std::tie(config.tags.nosync, config.tags.sync_priority) = flag_and_priority(*tags, "nosync", "sync_priority");
  config.tags.noloadbalance = flag(tags->find("noloadbalance"));
  config.tags.clonefrom = flag(tags->find("clonefrom"));
  config.tags.nostream = flag(tags->find("nostream"));
  if (const Value* from = tags->find("replicatefrom"); from != nullptr && from->is_scalar()) {
    config.tags.replicatefrom = from->text;
  }
  // What is published: flags that are off are not, except those that explain themselves beside a priority.
  Value published = Value::map();
  for (const Value::Entry& entry : tags->entries) {
    const bool known_flag = entry.key == "clonefrom" || entry.key == "nofailover" || entry.key == "noloadbalance" ||
                            entry.key == "nosync" || entry.key == "nostream";
    const bool explains = (entry.key == "nofailover" && tags->find("failover_priority") != nullptr) ||
                          (entry.key == "nosync" && tags->find("sync_priority") != nullptr);
    if (known_flag && !flag(&entry.value) && (!explains || entry.value.is_null())) continue;
    published.set(entry.key,
                  known_flag ? Value::scalar(flag(&entry.value) ? "true" : "false", {}, false) : entry.value);
  }
  if (!published.entries.empty()) config.raw_tags = to_json(published);
}

std::vector<BootstrapUser> build_users(const Value* users, Problems& problems) {
  std::vector<BootstrapUser> result;
  if (users == nullptr || users->is_null()) return result;
  if (!users->is_map()) {
    problems.push_back({Severity::Error, users->where, "bootstrap.users", "", "expected a section",
                        "with the name of each user, and password and options below it"});
    return result;
  }
  for (const Value::Entry& entry : users->entries) {
    BootstrapUser user;
    user.name = entry.key;
    const std::string path = "bootstrap.users." + entry.key;
    if (!entry.value.is_map() && !entry.value.is_null()) {
      problems.push_back(
          {Severity::Error, entry.where, path, "", "expected a section", "with password and options below it"});
      continue;
    }
    for (const Value::Entry& part : entry.value.entries) {
      if (part.key == "password" && part.value.is_scalar()) {
        user.password = Secret(part.value.text);
      } else if (part.key == "options" && part.value.is_scalar()) {
        user.options = split_commas(part.value.text);
      } else if (part.key == "options" && part.value.is_list()) {
        for (const Value& option : part.value.items) user.options.push_back(option.text);
      } else if (!part.value.is_null() && part.key != "password_file") {
        problems.push_back({Severity::Warning, part.where, path + "." + part.key, "", "unknown key",
                            "known are password, password_file and options"});
      }
    }
    result.push_back(std::move(user));
  }
  return result;
}

void build_method(const Value& section, BootstrapConfig& bootstrap, Problems& problems) {
  if (bootstrap.method == "initdb") return;
  const Value* method = section.find(bootstrap.method);
  const Value* command = method == nullptr ? nullptr : method->find("command");
  if (command == nullptr || !command->is_scalar()) {
    const Value* name = section.find("method");
    problems.push_back({Severity::Error, name == nullptr ? section.where : name->where, "bootstrap.method",
                        bootstrap.method, fmt::format("there is no command for this method"),
                        fmt::format("expected bootstrap.{}.command", bootstrap.method)});
    return;
  }
  bootstrap.method_section = script_map(*method);
  if (const Value* recovery = method->find("recovery_conf")) bootstrap.method_recovery_conf = text_map(*recovery);
}

void build_bootstrap(const Value& root, BootstrapConfig& bootstrap, Problems& problems) {
  const Value* section = root.find("bootstrap");
  if (section == nullptr || !section->is_map()) return;
  const Reader reader(root, false);
  bootstrap.present = true;
  const Value* dcs = section->find("dcs");
  bootstrap.dcs = dcs != nullptr && dcs->is_map() ? to_json(*dcs) : "{}";
  bootstrap.initdb = read_options(reader.usable("bootstrap.initdb"), "bootstrap.initdb",
                                  {"pgdata", "nosync", "pwfile", "sync-only", "version"}, problems);
  bootstrap.method = reader.text("bootstrap.method");
  build_method(*section, bootstrap, problems);
  for (const char* key : {"bootstrap.post_init", "bootstrap.post_bootstrap"}) {
    if (reader.given(key)) bootstrap.post_bootstrap = reader.text(key);
  }
  bootstrap.pg_hba = reader.lines("bootstrap.pg_hba");
  bootstrap.users = build_users(section->find("users"), problems);
}

void build_credentials(const Reader& reader, const std::string& role, Credentials& credentials) {
  const std::string base = "postgresql.authentication." + role + ".";
  credentials.username = reader.text(base + "username");
  credentials.password = reader.secret(base + "password");
  credentials.sslpassword = reader.secret(base + "sslpassword");
  for (const char* key : {"sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslcrldir", "gssencmode",
                          "channel_binding", "sslnegotiation"}) {
    if (reader.given(base + key)) credentials.connection[key] = reader.text(base + key);
  }
}

void build_local_postgres(const Reader& reader, const Environment& environment, PostgresConfig& postgres) {
  if (const auto listen = parse_listen(reader.text("postgresql.listen"), 5432)) {
    postgres.listen_addresses = listen->addresses;
    postgres.port = listen->port;
  }
  if (const auto address = reader.address("postgresql.connect_address")) {
    postgres.connect_address = *address;
  } else {
    const auto& addresses = postgres.listen_addresses;
    const auto named = std::find_if(addresses.begin(), addresses.end(), [](const auto& a) { return !is_wildcard(a); });
    postgres.connect_address = {named == addresses.end() ? "localhost" : *named, postgres.port};
  }
  postgres.proxy_address = reader.address("postgresql.proxy_address");
  postgres.data_dir = reader.text("postgresql.data_dir");
  while (postgres.data_dir.size() > 1 && postgres.data_dir.back() == '/') postgres.data_dir.pop_back();
  postgres.config_dir = reader.text("postgresql.config_dir");
  if (postgres.config_dir.empty()) postgres.config_dir = postgres.data_dir;
  postgres.pgpass = reader.text("postgresql.pgpass");
  if (const auto home = environment.find("HOME"); postgres.pgpass.empty() && home != environment.end()) {
    postgres.pgpass = home->second + "/pgpass";
  }
  build_credentials(reader, "superuser", postgres.superuser);
  build_credentials(reader, "replication", postgres.replication);
  build_credentials(reader, "rewind", postgres.rewind);
}

class Required {
 public:
  Required(const Value& root, const Reader& reader, Problems& problems)
      : root_(root), reader_(reader), problems_(problems) {}

  void need(const std::string& path, std::string valid) {
    const Value* value = root_.at(path);
    if (value != nullptr && !value->is_null() && !(value->is_scalar() && value->text.empty())) return;
    problems_.push_back({Severity::Error, {root_.where.file, 0, 0}, path, "", "missing", std::move(valid)});
  }
  void need_etcd() {
    if (root_.find("etcd") != nullptr && root_.find("etcd3") == nullptr) return;  // said already: the wrong API
    for (const char* key : {"host", "hosts", "url", "proxy", "srv", "discovery_srv", "srv_domain"}) {
      const Value* value = root_.at(std::string("etcd3.") + key);
      if (value != nullptr && !value->is_null()) return;
    }
    problems_.push_back({Severity::Error,
                         {root_.where.file, 0, 0},
                         "etcd3.hosts",
                         "",
                         "missing",
                         "for example hosts: [10.0.0.1:2379, 10.0.0.2:2379, 10.0.0.3:2379] below etcd3"});
  }
  // An address that tells other members nothing.
  void need_reachable(const std::string& address_path, const std::string& listen_path, const HostPort& address,
                      const std::string& example) {
    if (!is_wildcard(address.host) && (reader_.given(address_path) || !is_loopback(address.host))) return;
    const bool given = reader_.given(address_path);
    const Value* value = reader_.usable(given ? address_path : listen_path);
    if (value == nullptr) return;
    problems_.push_back({Severity::Warning, value->where, given ? address_path : listen_path, value->text,
                         given ? "is not an address that other members can reach"
                               : fmt::format("other members cannot reach this, and {} is not set",
                                             address_path.substr(address_path.find('.') + 1)),
                         fmt::format("set {}, for example {}", address_path, example)});
  }

 private:
  const Value& root_;
  const Reader& reader_;
  Problems& problems_;
};

void check_names(const AgentConfig& config, const Value& root, Problems& problems) {
  const auto refuse = [&](const char* key, const std::string& text, const char* what) {
    const Value* value = root.find(key);
    problems.push_back({Severity::Error, value == nullptr ? SourceLocation() : value->where, key, text, what,
                        "use letters, digits, '-', '_' and '.'"});
  };
  // Both are single path segments of etcd keys.
  if (config.name.text().find('/') != std::string::npos) refuse("name", config.name.text(), "must not contain a slash");
  if (config.scope.find('/') != std::string::npos) refuse("scope", config.scope, "must not contain a slash");
}

Value shared_part(const Value* section) {
  Value result = Value::map();
  if (section == nullptr) return result;
  for (const Value::Entry& entry : section->entries) {
    const Setting* row = find_setting("postgresql." + entry.key, false);
    // Authentication and addresses stay out: they are local, and passwords have no place in a JSON text.
    if (row != nullptr && row->origin == Origin::Local) continue;
    if (entry.key != "use_slots") result.set(entry.key, entry.value);
  }
  return result;
}

}  // namespace

void build_agent(const Value& root, const Environment& environment, AgentConfig& config, Problems& problems) {
  const Reader reader(root, false);
  config.name = MemberName(reader.text("name"));
  build_log(reader, config.log);
  build_watchdog(reader, config.watchdog);
  build_tags(root, config);
  build_bootstrap(root, config.bootstrap, problems);
  build_local_postgres(reader, environment, config.postgresql);
  Required required(root, reader, problems);
  required.need("name", "for example name: postgresql-1");
  required.need("scope", "for example scope: demo");
  required.need_etcd();
  required.need("restapi.listen", "for example 0.0.0.0:8008");
  required.need("postgresql.listen", "for example 0.0.0.0:5432");
  required.need("postgresql.data_dir", "for example /var/lib/postgresql/data");
  required.need("postgresql.authentication.replication.username", "for example replicator");
  required.need_reachable("restapi.connect_address", "restapi.listen", config.restapi.connect_address, "10.0.0.1:8008");
  required.need_reachable("postgresql.connect_address", "postgresql.listen", config.postgresql.connect_address,
                          "10.0.0.1:5432");
  check_names(config, root, problems);
  const Value shared = shared_part(root.find("postgresql"));
  config.local_postgresql = to_json(shared);
  build_shared_postgres(shared, nullptr, config.scope, config.postgresql, problems);
}

}  // namespace pgvigil::config
