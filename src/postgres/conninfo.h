// Connection strings: building, reading and comparing them. PostgreSQL documentation, "Database Connection Control
// Functions", "Connection Strings". Pure apart from libpq's parser; no I/O.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/secret.h"
#include "config/agent_config.h"
#include "model/ids.h"
#include "postgres/port.h"

namespace pgvigil::postgres {

// libpq keywords and their values. Passwords are kept apart so that printing a Conninfo cannot leak them.
struct Conninfo {
  std::map<std::string, std::string> values;
  Secret password, sslpassword;

  [[nodiscard]] std::string get(const std::string& keyword) const {
    const auto found = values.find(keyword);
    return found == values.end() ? std::string() : found->second;
  }
  friend bool operator==(const Conninfo&, const Conninfo&) = default;
};

// Accepts "key=value ..." strings and postgres:// URIs. The error never quotes the text: it may hold a password.
Result<Conninfo> parse_conninfo(const std::string& text);

// "keyword=value ..." in the order in which Patroni writes primary_conninfo, empty ones left out, values escaped with
// backslashes. Never contains a password.
std::string to_dsn(const Conninfo& conninfo);

// How to reach the local server as `user`. The database is the configured one; for `replication` it is a walsender
// connection. Socket directory, localhost or the first listen address, as use_unix_socket and listen say.
Conninfo local_conninfo(const config::PostgresConfig& config, const config::Credentials& user, bool replication);

// How to reach another member as `user` for queries (`replication` false) or the walsender protocol.
Conninfo upstream_conninfo(const config::PostgresConfig& config, const config::Credentials& user,
                           const Upstream& upstream, bool replication);

// The users that pg_rewind and checks on the leader connect as: the rewind user if there is one, else the superuser.
const config::Credentials& rewind_credentials(const config::PostgresConfig& config);

// The values of the primary_conninfo setting. The password is left to the passfile.
Conninfo primary_conninfo(const config::PostgresConfig& config, const MemberName& self, const Upstream& upstream,
                          int server_version, const std::string& passfile);

// Do the two connect to the same place in the same way? Order, defaults and the password do not matter; dbname matters
// from version 17 on (slot synchronisation uses it).
bool same_primary_conninfo(const std::string& running, const std::string& wanted, int server_version);

// "localhost:5432:*:user:secret" lines. A socket directory as host also gets a localhost line, as libpq looks it up so.
std::string pgpass_lines(const std::string& host, const std::string& port, const config::Credentials& user);
// All lines that the local server and our child processes need towards `upstream` and the local server.
std::string pgpass_text(const config::PostgresConfig& config, const std::optional<Upstream>& upstream);

}  // namespace pgvigil::postgres
