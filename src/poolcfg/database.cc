// [databases].
#include <fmt/format.h>

#include <algorithm>

#include "poolcfg/pair_values.h"
#include "poolcfg/sections.h"

namespace pgvigil::poolcfg {
namespace {

using Database = DatabaseEntry;
constexpr std::size_t kLongestName = 63;  // PostgreSQL's bound on identifiers

Parsed<std::string> take_hosts(Database& entry, std::string_view value) {
  std::vector<std::string> hosts;
  for (std::size_t at = 0; at <= value.size();) {
    const std::size_t end = std::min(value.find(',', at), value.size());
    if (end == at) return misfit("has an empty name in its list", "write host=a,b without spaces");
    hosts.emplace_back(value.substr(at, end - at));
    at = end + 1;
  }
  entry.hosts = std::move(hosts);
  entry.host_text = value;
  return std::string(kNoNotice);
}

Parsed<std::string> take_password(Database& entry, std::string_view value) {
  entry.password = Secret(std::string(value));
  return std::string(kNoNotice);
}

Parsed<std::string> take_balance(Database& entry, std::string_view value) {
  const auto balance = parse_name<LoadBalance>(value);
  if (!balance) return tl::unexpected<Misfit>(balance.error());
  entry.load_balance_hosts = *balance;
  return std::string(kNoNotice);
}

Parsed<std::string> take_role(Database& entry, std::string_view value) {
  const auto role = parse_name<ServerRole>(value);
  if (!role) return tl::unexpected<Misfit>(role.error());
  entry.role = *role;
  return std::string(kNoNotice);
}

Parsed<std::string> take_auth_dbname(Database& entry, std::string_view value) {
  if (value == "pgbouncer") {
    return misfit("is the console, which has no passwords to look up", "name a database of the server");
  }
  entry.auth_dbname = value;
  return std::string(kNoNotice);
}

void set_parameter(Database& entry, const std::string& name, std::string_view value) {
  for (auto& [known, text] : entry.startup_parameters) {
    if (known == name) {
      text = value;
      return;
    }
  }
  entry.startup_parameters.emplace_back(name, value);
}

template <int which>
Parsed<std::string> take_parameter(Database& entry, std::string_view value) {
  constexpr const char* kNames[] = {"client_encoding", "datestyle", "timezone", "application_name"};
  set_parameter(entry, kNames[which], value);
  return std::string(kNoNotice);
}

constexpr PairRow<Database> kRows[] = {
    {"dbname", "text", "the entry's name", "Name of the database on the server.",
     take_text<Database, &Database::dbname>},
    {"host", "list", "Unix socket in unix_socket_dir",
     "Names or addresses of servers, separated by commas without spaces; what begins with `/` or `@` is a Unix socket.",
     take_hosts},
    {"port", "number", "5432", "Port of all of these hosts.", take_port<Database, &Database::port>},
    {"role", "primary, replica or any", "none: host counts",
     "Instead of host and port: the member of the [cluster] that has this role.", take_role},
    {"user", "text", "the client's", "User for all server connections; they form one pool.",
     take_text<Database, &Database::user>},
    {"password", "text", "of auth_file", "Password of this user.", take_password, true},
    {"auth_user", "text", "setting", "User that runs auth_query.", take_text<Database, &Database::auth_user>},
    {"auth_query", "text", "setting", "The query for passwords of unknown users.",
     take_text<Database, &Database::auth_query>},
    {"auth_dbname", "text", "setting", "Database in which auth_query runs.", take_auth_dbname},
    {"pool_size", "number", "default_pool_size", "Server connections of each pool; 0 is no limit, -1 inherits.",
     take_count<Database, &Database::pool_size, 0>},
    {"min_pool_size", "number", "setting", "Server connections kept open; -1 inherits.",
     take_count<Database, &Database::min_pool_size, 0>},
    {"reserve_pool_size", "number", "setting", "Additional server connections; -1 inherits.",
     take_count<Database, &Database::reserve_pool_size, 0>},
    {"reserve_pool", "number", "setting", "The older name of reserve_pool_size.",
     take_count<Database, &Database::reserve_pool_size, 0>},
    {"max_db_connections", "number", "setting", "Server connections over all users; 0 inherits.",
     take_count<Database, &Database::max_db_connections, 1>},
    {"max_db_client_connections", "number", "setting", "Client connections; 0 inherits.",
     take_count<Database, &Database::max_db_client_connections, 1>},
    {"server_lifetime", "seconds", "setting", "Age at which server connections are closed; 0 inherits.",
     take_time<Database, &Database::server_lifetime>},
    {"query_wait_timeout", "seconds", "setting", "How long a client waits for a server connection; 0 is no limit.",
     take_time_or_off<Database, &Database::query_wait_timeout>},
    {"pool_mode", "session, transaction or statement", "setting", "When a server connection goes back to its pool.",
     take_mode<Database, &Database::pool_mode>},
    {"load_balance_hosts", "round-robin or disable", "round-robin",
     "Take the hosts in turn, or stay with one until it fails.", take_balance},
    {"connect_query", "text", "none",
     "Sent on each new server connection before clients use it; errors are logged only.",
     take_text<Database, &Database::connect_query>},
    {"client_encoding", "text", "the client's", "Parameter that server connections begin with.", take_parameter<0>},
    {"datestyle", "text", "the client's", "Parameter that server connections begin with.", take_parameter<1>},
    {"timezone", "text", "the client's", "Parameter that server connections begin with.", take_parameter<2>},
    {"application_name", "text", "the client's", "Parameter that server connections begin with.", take_parameter<3>},
};

}  // namespace

std::span<const PairRow<DatabaseEntry>> database_rows() { return kRows; }

Result<void> take_database(Loading& loading, const IniEntry& entry) {
  if (entry.key == "pgbouncer") {
    return refused_key(entry.where, entry.key, {"is the name of the console and cannot be a database", "rename it"});
  }
  if (entry.key.size() > kLongestName) {
    return refused_key(entry.where, entry.key, {"the name is longer than 63 bytes", "PostgreSQL has no such names"});
  }
  Database database;
  database.name = entry.key;
  PGV_TRY_VOID(take_pairs(loading, entry, database_rows(), database));
  const auto [earlier, first] = loading.databases_at.try_emplace(std::string(entry.key), entry.where);
  if (!first) {
    loading.warn(entry.where, fmt::format("database {} stands also at {}: this later line counts", shown(entry.key),
                                          earlier->second.text()));
    earlier->second = entry.where;
  }
  if (entry.key == "*") {
    loading.config.any_database = std::move(database);
    return {};
  }
  if (database.dbname.empty()) database.dbname = database.name;
  loading.config.databases.insert_or_assign(database.name, std::move(database));
  return {};
}

DatabaseEntry database_from_any(const DatabaseEntry& any, const std::string& name) {
  DatabaseEntry entry = any;
  entry.name = name;
  if (entry.dbname.empty()) entry.dbname = name;
  return entry;
}

bool DatabaseEntry::same_connection(const DatabaseEntry& other) const {
  return dbname == other.dbname && host_text == other.host_text && port == other.port && role == other.role &&
         user == other.user && connect_query == other.connect_query && auth_dbname == other.auth_dbname &&
         auth_query == other.auth_query && load_balance_hosts == other.load_balance_hosts;
}

}  // namespace pgvigil::poolcfg
