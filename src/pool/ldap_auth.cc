// LDAP: simple bind, and search+bind.
#include <ldap.h>
#include <sys/time.h>

#include <memory>
#include <vector>

#include "pool/blocking_auth.h"
#include "pool/ldap_options.h"

namespace pgvigil::pool {
namespace {

constexpr int kNetworkSeconds = 3;

struct Unbind {
  void operator()(LDAP* handle) const { ldap_unbind_ext_s(handle, nullptr, nullptr); }
};
using Handle = std::unique_ptr<LDAP, Unbind>;

tl::unexpected<Error> refused(int status, const char* what, const std::string& subject, Errc code) {
  return fail(code, what, subject, ldap_err2string(status));
}

Result<Handle> connect(const LdapOptions& options) {
  LDAP* raw = nullptr;
  const std::string uris = options.uris();
  if (const int status = ldap_initialize(&raw, uris.c_str()); status != LDAP_SUCCESS) {
    return refused(status, "cannot use the LDAP server", uris, Errc::InvalidConfig);
  }
  Handle handle(raw);
  const int version = LDAP_VERSION3;
  const timeval limit{kNetworkSeconds, 0};
  ldap_set_option(raw, LDAP_OPT_PROTOCOL_VERSION, &version);
  ldap_set_option(raw, LDAP_OPT_NETWORK_TIMEOUT, &limit);
  ldap_set_option(raw, LDAP_OPT_TIMEOUT, &limit);
  // A referral would send the password to a server that nobody has named.
  ldap_set_option(raw, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
  if (options.start_tls) {
    if (const int status = ldap_start_tls_s(raw, nullptr, nullptr); status != LDAP_SUCCESS) {
      return refused(status, "cannot begin TLS with the LDAP server", uris, Errc::Unavailable);
    }
  }
  return handle;
}

int bind_as(LDAP* handle, const std::string& dn, const std::string& password) {
  berval secret{password.size(), const_cast<char*>(password.data())};
  return ldap_sasl_bind_s(handle, dn.c_str(), LDAP_SASL_SIMPLE, &secret, nullptr, nullptr, nullptr);
}

Errc code_of(int status) { return status == LDAP_INVALID_CREDENTIALS ? Errc::Unauthorized : Errc::Unavailable; }

Result<std::string> find_user(LDAP* handle, const LdapOptions& options, const std::string& user) {
  if (const int status = bind_as(handle, options.bind_dn, options.bind_password.reveal()); status != LDAP_SUCCESS) {
    return refused(status, "the LDAP server refuses ldapbinddn", options.bind_dn, Errc::InvalidConfig);
  }
  const int scope = options.scope == LdapOptions::Scope::Base  ? LDAP_SCOPE_BASE
                    : options.scope == LdapOptions::Scope::One ? LDAP_SCOPE_ONELEVEL
                                                               : LDAP_SCOPE_SUBTREE;
  std::string no_attributes = LDAP_NO_ATTRS;
  std::array<char*, 2> attributes{no_attributes.data(), nullptr};
  timeval limit{kNetworkSeconds, 0};
  LDAPMessage* raw = nullptr;
  const std::string filter = options.filter_for(user);
  constexpr int kTwoAreTooMany = 2;
  const int status = ldap_search_ext_s(handle, options.base_dn.c_str(), scope, filter.c_str(), attributes.data(), 0,
                                       nullptr, nullptr, &limit, kTwoAreTooMany, &raw);
  const std::unique_ptr<LDAPMessage, int (*)(LDAPMessage*)> found(raw, ldap_msgfree);
  if (status != LDAP_SUCCESS && status != LDAP_SIZELIMIT_EXCEEDED) {
    return refused(status, "the LDAP search failed", filter, Errc::Unavailable);
  }
  if (ldap_count_entries(handle, found.get()) != 1 || status == LDAP_SIZELIMIT_EXCEEDED) {
    return fail(Errc::Unauthorized, "not exactly one LDAP entry is the user's", filter);
  }
  char* dn = ldap_get_dn(handle, ldap_first_entry(handle, found.get()));
  std::string name = dn != nullptr ? dn : "";
  ldap_memfree(dn);
  if (name.empty()) return fail(Errc::Unavailable, "the LDAP entry has no name", filter);
  return name;
}

}  // namespace

Result<void> check_ldap(const BlockingAuth::Request& request) {
  PGV_TRY(options, parse_ldap_options(request.options));
  // An empty password would be an anonymous bind, which succeeds for everybody (RFC 4513, 5.1.2).
  if (request.password.empty()) return fail(Errc::Unauthorized, "empty password", request.user);
  std::string dn = options.prefix + request.user + options.suffix;
  if (options.searches()) {
    PGV_TRY(searcher, connect(options));
    PGV_TRY(found, find_user(searcher.get(), options, request.user));
    dn = found;
  }
  // A connection of its own: the bind must not carry over the searcher's rights.
  PGV_TRY(handle, connect(options));
  const int status = bind_as(handle.get(), dn, request.password.reveal());
  if (status != LDAP_SUCCESS) return refused(status, "the LDAP server refuses the user", dn, code_of(status));
  return {};
}

}  // namespace pgvigil::pool
