#include "postgres/conninfo.h"

#include <libpq-fe.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace pgvigil::postgres {
namespace {

// The order in which Patroni writes primary_conninfo; a differing text would make its members rewrite the file.
constexpr std::array<std::string_view, 20> kOrder{"dbname",
                                                  "user",
                                                  "passfile",
                                                  "host",
                                                  "port",
                                                  "sslmode",
                                                  "sslcompression",
                                                  "sslcert",
                                                  "sslkey",
                                                  "sslrootcert",
                                                  "sslcrl",
                                                  "sslcrldir",
                                                  "application_name",
                                                  "krbsrvname",
                                                  "gssencmode",
                                                  "channel_binding",
                                                  "target_session_attrs",
                                                  "sslnegotiation",
                                                  "replication",
                                                  "connect_timeout"};

std::string escaped(const std::string& value) {
  std::string text;
  for (const char c : value) {
    if (c == ' ' || c == '\'' || c == '\\') text += '\\';
    text += c;
  }
  return text;
}

void add_user(Conninfo& conninfo, const config::Credentials& user) {
  if (!user.username.empty()) conninfo.values["user"] = user.username;
  for (const auto& [keyword, value] : user.connection) {
    if (!value.empty()) conninfo.values[keyword] = value;
  }
  conninfo.password = user.password;
  conninfo.sslpassword = user.sslpassword;
}

void set_replication(Conninfo& conninfo) {
  conninfo.values["replication"] = "1";
  conninfo.values.erase("dbname");
}

std::string field(std::string text) {
  std::string out;
  for (const char c : text) {
    if (c == ':' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

Result<Conninfo> parse_conninfo(const std::string& text) {
  char* error = nullptr;
  PQconninfoOption* options = PQconninfoParse(text.c_str(), &error);
  if (options == nullptr) {
    PQfreemem(error);
    return fail(Errc::InvalidConfig, "cannot read a connection string", {},
                "it is neither key=value pairs nor a postgres:// URI");
  }
  Conninfo conninfo;
  for (const auto* option = options; option->keyword != nullptr; ++option) {
    if (option->val == nullptr || *option->val == '\0') continue;
    const std::string_view keyword(option->keyword);
    if (keyword == "password") {
      conninfo.password = Secret(option->val);
    } else if (keyword == "sslpassword") {
      conninfo.sslpassword = Secret(option->val);
    } else {
      conninfo.values[std::string(keyword)] = option->val;
    }
  }
  PQconninfoFree(options);
  return conninfo;
}

std::string to_dsn(const Conninfo& conninfo) {
  std::string dsn;
  const auto add = [&dsn](std::string_view keyword, const std::string& value) {
    if (value.empty()) return;
    if (!dsn.empty()) dsn += ' ';
    dsn += fmt::format("{}={}", keyword, escaped(value));
  };
  for (const auto keyword : kOrder) add(keyword, conninfo.get(std::string(keyword)));
  for (const auto& [keyword, value] : conninfo.values) {
    if (std::find(kOrder.begin(), kOrder.end(), keyword) == kOrder.end()) add(keyword, value);
  }
  return dsn;
}

Conninfo local_conninfo(const config::PostgresConfig& config, const config::Credentials& user, bool replication) {
  Conninfo conninfo;
  conninfo.values["dbname"] = config.database;
  add_user(conninfo, user);
  conninfo.values["port"] = std::to_string(config.port);
  const bool socket = replication ? config.use_unix_socket_repl : config.use_unix_socket;
  std::string host = "localhost";
  if (!config.listen_addresses.empty()) {
    const auto covers_local = [](const std::string& a) {
      return a == "*" || a == "0.0.0.0" || a == "::" || a == "localhost" || a == "127.0.0.1";
    };
    const auto& all = config.listen_addresses;
    if (std::none_of(all.begin(), all.end(), covers_local)) host = all.front();
    if (std::find(all.begin(), all.end(), "127.0.0.1") != all.end() &&
        std::find(all.begin(), all.end(), "localhost") == all.end()) {
      host = "127.0.0.1";
    }
  }
  if (socket) {
    host.clear();
    if (const auto found = config.parameters.find("unix_socket_directories"); found != config.parameters.end()) {
      const std::string first = found->second.substr(0, found->second.find(','));
      if (!first.empty() && first.front() == '/') host = first;
    }
    conninfo.values.erase("sslmode");
  }
  if (!host.empty()) conninfo.values["host"] = host;
  if (replication) set_replication(conninfo);
  return conninfo;
}

Conninfo upstream_conninfo(const config::PostgresConfig& config, const config::Credentials& user,
                           const Upstream& upstream, bool replication) {
  Conninfo conninfo;
  conninfo.values["dbname"] = config.database;
  add_user(conninfo, user);
  conninfo.values["host"] = upstream.host;
  conninfo.values["port"] = upstream.port.empty() ? "5432" : upstream.port;
  if (upstream.member.empty() && upstream.host.find(',') != std::string::npos) {
    conninfo.values["target_session_attrs"] = "read-write";
  }
  conninfo.values["connect_timeout"] = "3";
  if (replication) set_replication(conninfo);
  return conninfo;
}

const config::Credentials& rewind_credentials(const config::PostgresConfig& config) {
  return config.rewind.username.empty() ? config.superuser : config.rewind;
}

Conninfo primary_conninfo(const config::PostgresConfig& config, const MemberName& self, const Upstream& upstream,
                          int server_version, const std::string& passfile) {
  Conninfo conninfo = upstream_conninfo(config, config.replication, upstream, false);
  conninfo.values.erase("connect_timeout");
  conninfo.values["dbname"] = config.database.empty() ? "postgres" : config.database;
  conninfo.values["passfile"] = passfile;
  conninfo.values["application_name"] = self.text();
  if (!config.krbsrvname.empty()) conninfo.values["krbsrvname"] = config.krbsrvname;
  conninfo.values.try_emplace("sslmode", "prefer");
  conninfo.values.try_emplace("gssencmode", "prefer");
  conninfo.values.try_emplace("channel_binding", "prefer");
  if (server_version >= 170000) conninfo.values.try_emplace("sslnegotiation", "postgres");
  conninfo.password = Secret();
  // A passfile cannot hold it: this one has to stand in the setting, whose file is as private as the passfile.
  if (!conninfo.sslpassword.empty()) conninfo.values["sslpassword"] = conninfo.sslpassword.reveal();
  return conninfo;
}

bool same_primary_conninfo(const std::string& running, const std::string& wanted, int server_version) {
  auto a = parse_conninfo(running);
  auto b = parse_conninfo(wanted);
  if (!a || !b) return running == wanted;
  const auto normalize = [server_version](Conninfo& c) {
    for (const char* keyword :
         {"passfile", "fallback_application_name", "options", "replication", "client_encoding", "sslcompression",
          "sslsni", "ssl_min_protocol_version", "krbsrvname", "target_session_attrs", "connect_timeout", "sslpassword",
          "load_balance_hosts", "hostaddr", "gssdelegation", "sslcertmode", "require_auth"}) {
      if (c.get(keyword).empty() || std::string_view(keyword) != "target_session_attrs" || c.get(keyword) == "any") {
        c.values.erase(keyword);
      }
    }
    if (server_version < 170000) c.values.erase("dbname");
    c.values.try_emplace("sslmode", "prefer");
    c.values.try_emplace("gssencmode", "prefer");
    c.values.try_emplace("channel_binding", "prefer");
    if (c.get("sslnegotiation") == "postgres") c.values.erase("sslnegotiation");
    c.values.try_emplace("port", "5432");
    c.password = Secret();
    c.sslpassword = Secret();
  };
  normalize(*a);
  normalize(*b);
  return *a == *b;
}

std::string pgpass_lines(const std::string& host, const std::string& port, const config::Credentials& user) {
  if (user.password.empty()) return {};
  std::string lines;
  for (std::size_t at = 0; at <= host.size();) {
    const auto comma = std::min(host.find(',', at), host.size());
    const std::string one = host.substr(at, comma - at);
    const auto add = [&](const std::string& name) {
      lines += fmt::format("{}:{}:*:{}:{}\n", field(name), port.empty() ? "5432" : field(port), field(user.username),
                           field(user.password.reveal()));
    };
    add(one.empty() ? "localhost" : one);
    if (!one.empty() && one.front() == '/') add("localhost");
    at = comma + 1;
  }
  return lines;
}

std::string pgpass_text(const config::PostgresConfig& config, const std::optional<Upstream>& upstream) {
  std::string text;
  const auto add = [&text](const std::string& lines) {
    if (!lines.empty() && text.find(lines) == std::string::npos) text += lines;
  };
  const auto local = local_conninfo(config, config.superuser, false);
  for (const auto* user : {&config.replication, &config.superuser, &config.rewind}) {
    if (user->username.empty()) continue;
    if (upstream) add(pgpass_lines(upstream->host, upstream->port, *user));
    add(pgpass_lines(local.get("host"), local.get("port"), *user));
  }
  return text;
}

}  // namespace pgvigil::postgres
