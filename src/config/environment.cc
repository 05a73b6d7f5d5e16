#include "config/environment.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <map>

#include "config/scalars.h"
#include "config/settings_table.h"
#include "config/yaml_reader.h"

extern char** environ;  // NOLINT: POSIX

namespace pgvigil::config {

namespace {

constexpr std::string_view kPrefix = "PATRONI_";

std::string upper(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](unsigned char c) { return std::toupper(c); });
  std::replace(result.begin(), result.end(), '.', '_');
  return result;
}

struct Family {
  std::string_view variable;  // after PATRONI_, before the key; with its trailing '_'
  std::string_view section;   // with its trailing '.'
  std::vector<std::string_view> keys;
};

const std::vector<Family>& families() {
  static const std::vector<std::string_view> kUser{"username",  "password",    "sslmode",         "sslcert",
                                                   "sslkey",    "sslpassword", "sslrootcert",     "sslcrl",
                                                   "sslcrldir", "gssencmode",  "channel_binding", "sslnegotiation"};
  static const std::vector<Family> kFamilies{
      {"", "", {"name", "scope", "namespace", "thread_pool_size", "thread_stack_size"}},
      {"LOG_",
       "log.",
       {"type", "level", "traceback_level", "format", "dateformat", "static_fields", "max_queue_size", "dir", "mode",
        "file_size", "file_num", "loggers", "deduplicate_heartbeat_logs"}},
      {"RESTAPI_",
       "restapi.",
       {"listen", "connect_address", "certfile", "keyfile", "keyfile_password", "cafile", "ciphers", "verify_client",
        "http_extra_headers", "https_extra_headers", "allowlist", "allowlist_include_members", "request_queue_size",
        "server_tokens", "thread_pool_size"}},
      {"RESTAPI_", "restapi.authentication.", {"username", "password"}},
      {"CTL_", "ctl.", {"insecure", "cacert", "certfile", "keyfile", "keyfile_password"}},
      {"CTL_", "ctl.authentication.", {"username", "password"}},
      {"POSTGRESQL_",
       "postgresql.",
       {"listen", "connect_address", "proxy_address", "config_dir", "data_dir", "pgpass", "bin_dir"}},
      {"POSTGRESQL_BIN_",
       "postgresql.bin_name.",
       {"pg_ctl", "initdb", "pg_controldata", "pg_basebackup", "postgres", "pg_isready", "pg_rewind"}},
      {"SUPERUSER_", "postgresql.authentication.superuser.", kUser},
      {"REPLICATION_", "postgresql.authentication.replication.", kUser},
      {"REWIND_", "postgresql.authentication.rewind.", kUser},
      {"ETCD3_",
       "etcd3.",
       {"host", "hosts", "url", "proxy", "use_proxies", "protocol", "srv", "srv_suffix", "username", "password",
        "cacert", "cert", "key"}},
  };
  return kFamilies;
}

// Variable name -> path of the setting.
const std::map<std::string, std::string>& variables() {
  static const std::map<std::string, std::string> kVariables = [] {
    std::map<std::string, std::string> result;
    for (const Family& family : families()) {
      for (const std::string_view key : family.keys) {
        const std::string name = fmt::format("{}{}{}", kPrefix, family.variable, upper(key));
        const std::string path = fmt::format("{}{}", family.section, key);
        result[name] = path;
        const Setting* row = find_setting(path, false);
        if (row != nullptr && row->kind == Kind::Secret) result[name + "_FILE"] = path + "_file";
      }
    }
    return result;
  }();
  return kVariables;
}

bool wants_map(const std::string& path) {
  const Setting* row = find_setting(path, false);
  return row != nullptr && row->kind == Kind::TextMap;
}

// Maps are written `{a: b}` or `a: b, c: d`, lists `[a, b]` or `a, b`.
Value value_of(const std::string& path, const std::string& text, const SourceLocation& where, Problems& problems) {
  std::string yaml(trimmed(text));
  const bool list = yaml.starts_with("[") || yaml.starts_with("- ");
  if (!list && !wants_map(path)) return Value::scalar(text, where);
  if (!list && !yaml.starts_with("{")) yaml = "{" + yaml + "}";
  Document document = read_yaml_text("value: " + std::string(yaml.starts_with("- ") ? "\n" : "") + yaml, where.file);
  Value* found = document.root.find("value");
  if (has_errors(document.problems) || found == nullptr) {
    problems.push_back({Problem::Severity::Error, where, path, text, list ? "expected a list" : "expected a map",
                        list ? "for example a, b" : "for example {a: b}"});
    return {};
  }
  const auto place = [&](auto& self, Value& value) -> void {
    value.where = where;
    for (Value& item : value.items) self(self, item);
    for (Value::Entry& entry : value.entries) {
      entry.where = where;
      self(self, entry.value);
    }
  };
  place(place, *found);
  return *found;
}

// What the environment says replaces whatever the file says about the same thing under another key.
void remove_rivals(Value& root, const std::string& path) {
  const auto remove = [&](std::string_view section, std::string_view key) {
    if (auto* parent = const_cast<Value*>(root.at(section))) parent->remove(key);
  };
  if (const std::size_t dot = path.rfind('.'); dot != std::string::npos) {
    const std::string section = path.substr(0, dot), key = path.substr(dot + 1);
    remove(section, key.ends_with("_file") ? key.substr(0, key.size() - 5) : key + "_file");
  }
}

constexpr std::string_view kEtcdPlaces[] = {"host", "hosts", "url", "proxy", "srv"};

void remove_other_etcd_places(Value& root, const Environment& environment) {
  Value* etcd = root.find("etcd3");
  if (etcd == nullptr) return;
  const auto given = [&](std::string_view key) {
    const auto found = environment.find(fmt::format("PATRONI_ETCD3_{}", upper(key)));
    return found != environment.end() && !found->second.empty();
  };
  if (std::none_of(std::begin(kEtcdPlaces), std::end(kEtcdPlaces), given)) return;
  for (const std::string_view key : kEtcdPlaces) etcd->remove(key);
}

void apply_etcd_port(Value& root, const Environment& environment) {
  const auto port = environment.find("PATRONI_ETCD3_PORT");
  const auto host = environment.find("PATRONI_ETCD3_HOST");
  if (port == environment.end() || port->second.empty() || host == environment.end()) return;
  if (host->second.empty() || host->second.find(':') != std::string::npos) return;
  root.set_at("etcd3.host", Value::scalar(host->second + ":" + port->second, {"environment PATRONI_ETCD3_HOST", 0, 0}));
}

// Sections of stores that pgvigil does not speak: they show up in the document, where validation explains them.
bool apply_foreign_store(Value& root, const std::string& name, const SourceLocation& where) {
  for (const std::string_view store : {"ETCD", "CONSUL", "ZOOKEEPER", "EXHIBITOR", "KUBERNETES", "RAFT", "CITUS"}) {
    if (!name.starts_with(fmt::format("{}{}_", kPrefix, store))) continue;
    std::string section(store);
    std::transform(section.begin(), section.end(), section.begin(), [](unsigned char c) { return std::tolower(c); });
    if (root.find(section) == nullptr) root.set(section, Value::map(where));
    return true;
  }
  return false;
}

}  // namespace

void apply_environment(Value& root, const Environment& environment, Problems& problems) {
  static const std::map<std::string, std::string> kOld{{"PATRONI_LOGLEVEL", "log.level"},
                                                       {"PATRONI_LOGFORMAT", "log.format"},
                                                       {"PATRONI_LOG_DATEFMT", "log.dateformat"}};
  remove_other_etcd_places(root, environment);
  for (const auto& old : kOld) {
    const auto found = environment.find(old.first);
    if (found == environment.end() || found->second.empty()) continue;
    root.set_at(old.second, Value::scalar(found->second, {"environment " + old.first, 0, 0}));
  }
  for (const auto& [name, text] : environment) {
    if (!name.starts_with(kPrefix) || text.empty()) continue;
    const SourceLocation where{"environment " + name, 0, 0};
    const auto known = variables().find(name);
    if (known != variables().end()) {
      remove_rivals(root, known->second);
      Value value = value_of(known->second, text, where, problems);
      if (!value.is_null()) root.set_at(known->second, std::move(value));
      continue;
    }
    if (kOld.count(name) != 0 || name == "PATRONI_CONFIGURATION" || name == "PATRONI_ETCD3_PORT") continue;
    if (apply_foreign_store(root, name, where)) continue;
    std::vector<std::string> names;
    for (const auto& variable : variables()) names.push_back(variable.first);
    const auto near = nearest_match(name, names);
    problems.push_back({Problem::Severity::Warning, where, "", "", "unknown variable",
                        near ? fmt::format("did you mean {}?", *near) : "it is ignored"});
  }
  apply_etcd_port(root, environment);
}

Environment process_environment() {
  Environment result;
  for (char** each = environ; each != nullptr && *each != nullptr; ++each) {
    const std::string_view text(*each);
    const std::size_t equals = text.find('=');
    if (equals != std::string_view::npos) result.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return result;
}

bool is_consumed_variable(const std::string& name) {
  return name.starts_with(kPrefix) || name.starts_with("KUBERNETES_") || name == "NOTIFY_SOCKET";
}

}  // namespace pgvigil::config
