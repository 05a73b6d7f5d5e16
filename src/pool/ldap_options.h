// The ldap* options of PostgreSQL's pg_hba.conf (documentation, "LDAP Authentication").
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "base/secret.h"

namespace pgvigil::pool {

struct LdapOptions {
  std::string servers;  // space-separated, as libldap takes them
  std::string scheme = "ldap";
  int port = 0;  // 0: the scheme's
  bool start_tls = false;
  std::string prefix, suffix;  // simple bind
  std::string base_dn, bind_dn, search_attribute, search_filter;
  Secret bind_password;
  enum class Scope : std::uint8_t { Base, One, Subtree } scope = Scope::Subtree;

  [[nodiscard]] bool searches() const { return !base_dn.empty(); }
  [[nodiscard]] std::string uris() const;
  // The filter that finds this user. The name is escaped (RFC 4515): it cannot widen the search.
  [[nodiscard]] std::string filter_for(std::string_view user) const;
};

Result<LdapOptions> parse_ldap_options(std::string_view text);

}  // namespace pgvigil::pool
