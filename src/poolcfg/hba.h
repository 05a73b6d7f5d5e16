// The HBA file and the ident map, with PgBouncer's subset of PostgreSQL's syntax.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "poolcfg/settings.h"

namespace pgvigil::poolcfg {

// An address as 16 bytes; version 4 as ::ffff:a.b.c.d. Unix sockets have none.
struct PeerAddress {
  enum class Kind : std::uint8_t { Unix, V4, V6 } kind = Kind::Unix;
  std::array<std::uint8_t, 16> bytes{};
};

struct HbaQuery {
  PeerAddress address;
  bool tls = false;
  enum class Replication : std::uint8_t { None, Physical, Logical } replication = Replication::None;
  std::string_view database, user;
};

struct HbaRule {
  enum class Type : std::uint8_t { Local, Host, HostSsl, HostNoSsl } type = Type::Host;
  struct Names {
    bool all = false, same_user = false, replication = false;
    std::vector<std::string> names;
  };
  Names databases, users;
  bool any_address = false;
  PeerAddress address, mask;
  AuthType method = AuthType::Reject;
  std::string map;      // of map=NAME
  std::string options;  // of ldap: the rest of the line
  int line = 0;
};

struct HbaFile {
  std::vector<HbaRule> rules;
  std::vector<std::string> warnings;  // a line that does not parse is skipped and named here
  // Not empty: a line that rejects could not be understood. Without it those it keeps out would get in, so load_hba
  // fails.
  std::string lost_reject;
  // The first that matches; null: "no authentication method is found".
  [[nodiscard]] const HbaRule* match(const HbaQuery& query) const;
};
// `path` is for messages and for @file, which is relative to it.
HbaFile parse_hba(std::string_view text, const std::string& path);
// Fails if the file cannot be read or `lost_reject` is not empty; a reload then keeps the rules that it has.
Result<HbaFile> load_hba(const std::string& path);

struct IdentMap {
  struct Line {
    std::string map, system_user, database_user;
    bool any_user = false;
  };
  std::vector<Line> lines;
  std::vector<std::string> warnings;
  // May the operating system's (or the certificate's) user log in as this one? Without a map: if the names are equal.
  [[nodiscard]] bool permits(std::string_view map, std::string_view system_user, std::string_view database_user) const;
};
IdentMap parse_ident(std::string_view text, const std::string& path);
Result<IdentMap> load_ident(const std::string& path);

}  // namespace pgvigil::poolcfg
