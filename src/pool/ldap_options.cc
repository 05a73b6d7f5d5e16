#include "pool/ldap_options.h"

#include <fmt/format.h>

#include <cstdlib>
#include <optional>
#include <vector>

namespace pgvigil::pool {
namespace {

Error misfit(std::string_view key, std::string cause, std::string remedy = {}) {
  return {Errc::InvalidConfig, "an LDAP option cannot be used", std::string(key), std::move(cause), std::move(remedy)};
}

struct Pair {
  std::string key, value;
};

// key=value or "key=value", or key="value", separated by blanks, as in pg_hba.conf; "" inside quotes is one quote.
Result<std::vector<Pair>> split(std::string_view text) {
  std::vector<Pair> pairs;
  std::string token;
  bool quoted = false, any = false;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    const char c = i < text.size() ? text[i] : ' ';
    if (c == '"') {
      if (quoted && i + 1 < text.size() && text[i + 1] == '"') {
        token += text[++i];
      } else {
        quoted = !quoted;
      }
      any = true;
    } else if ((c == ' ' || c == '\t' || c == ',') && !quoted && !(c == ',' && any)) {
      if (any) {
        const auto equals = token.find('=');
        if (equals == std::string::npos) return tl::make_unexpected(misfit(token, "it is not of the form name=value"));
        pairs.push_back({token.substr(0, equals), token.substr(equals + 1)});
      }
      token.clear();
      any = false;
    } else {
      token += c;
      any = true;
    }
  }
  if (quoted) return fail(Errc::InvalidConfig, "a quote of the LDAP options is not closed");
  return pairs;
}

std::string percent_decoded(std::string_view text) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
  const auto hex = [](char c) { return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f'); };
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && hex(text[i + 1]) && hex(text[i + 2])) {
      plain += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
      i += 2;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// ldap[s]://host[:port]/basedn[?[attribute][?[scope][?[filter]]]] (RFC 4516, as far as PostgreSQL reads it)
std::optional<Error> read_url(LdapOptions& options, const std::string& url) {
  const auto colon = url.find("://");
  options.scheme = url.substr(0, colon);
  if (colon == std::string::npos || (options.scheme != "ldap" && options.scheme != "ldaps")) {
    return misfit("ldapurl", "it does not begin with ldap:// or ldaps://");
  }
  std::vector<std::string> parts;
  const std::string rest = url.substr(colon + 3);
  const auto slash = rest.find('/');
  const std::string host = rest.substr(0, slash);
  std::string path = slash == std::string::npos ? "" : rest.substr(slash + 1);
  for (std::size_t begin = 0; begin <= path.size();) {
    const auto end = std::min(path.find('?', begin), path.size());
    parts.push_back(percent_decoded(std::string_view(path).substr(begin, end - begin)));
    begin = end + 1;
  }
  parts.resize(std::max<std::size_t>(parts.size(), 4));
  const auto port = host.rfind(':');
  const bool has_port = port != std::string::npos && host.find(']', port) == std::string::npos;
  options.servers = host.substr(0, has_port ? port : std::string::npos);
  if (has_port) options.port = std::atoi(host.c_str() + port + 1);
  options.base_dn = parts[0];
  options.search_attribute = parts[1];
  if (parts[2] == "base") options.scope = LdapOptions::Scope::Base;
  if (parts[2] == "one" || parts[2].empty()) options.scope = LdapOptions::Scope::One;
  if (parts[2] == "sub") options.scope = LdapOptions::Scope::Subtree;
  options.search_filter = parts[3];
  return std::nullopt;
}

std::optional<Error> apply(LdapOptions& options, const Pair& pair) {
  const auto& [key, value] = pair;
  if (key == "ldapurl") return read_url(options, value);
  if (key == "ldapserver") {
    options.servers = value;
  } else if (key == "ldapport") {
    options.port = std::atoi(value.c_str());
    if (options.port <= 0 || options.port > 65535) return misfit(key, "it is not a port", "write 1 to 65535");
  } else if (key == "ldapscheme") {
    if (value != "ldap" && value != "ldaps") return misfit(key, "it is neither ldap nor ldaps");
    options.scheme = value;
  } else if (key == "ldaptls") {
    options.start_tls = value == "1";
  } else if (key == "ldapprefix") {
    options.prefix = value;
  } else if (key == "ldapsuffix") {
    options.suffix = value;
  } else if (key == "ldapbasedn") {
    options.base_dn = value;
  } else if (key == "ldapbinddn") {
    options.bind_dn = value;
  } else if (key == "ldapbindpasswd") {
    options.bind_password = Secret(value);
  } else if (key == "ldapsearchattribute") {
    options.search_attribute = value;
  } else if (key == "ldapsearchfilter") {
    options.search_filter = value;
  } else {
    return misfit(
        key, "there is no such option",
        "known are ldapserver, ldapport, ldapscheme, ldaptls, ldapprefix, ldapsuffix, ldapbasedn, ldapbinddn, "
        "ldapbindpasswd, ldapsearchattribute, ldapsearchfilter and ldapurl");
  }
  return std::nullopt;
}

}  // namespace

Result<LdapOptions> parse_ldap_options(std::string_view text) {
  LdapOptions options;
  PGV_TRY(pairs, split(text));
  for (const auto& pair : pairs) {
    if (auto error = apply(options, pair); error) return tl::make_unexpected(std::move(*error));
  }
  if (options.servers.empty()) {
    return fail(Errc::InvalidConfig, "the LDAP options name no server", {}, {}, "set ldapserver or ldapurl");
  }
  const bool simple = !options.prefix.empty() || !options.suffix.empty();
  const bool search = options.searches() || !options.bind_dn.empty() || !options.search_attribute.empty() ||
                      !options.search_filter.empty();
  if (simple && search) {
    return fail(Errc::InvalidConfig, "LDAP options of simple bind and of search+bind do not go together", {}, {},
                "use either ldapprefix and ldapsuffix, or ldapbasedn with ldapbinddn and ldapsearchattribute");
  }
  if (!simple && !options.searches()) {
    return fail(Errc::InvalidConfig, "the LDAP options do not say how to find a user", {}, {},
                "set ldapprefix or ldapsuffix, or ldapbasedn");
  }
  if (!options.search_attribute.empty() && !options.search_filter.empty()) {
    return fail(Errc::InvalidConfig, "ldapsearchattribute and ldapsearchfilter do not go together", {}, {},
                "remove one of them");
  }
  return options;
}

std::string LdapOptions::uris() const {
  std::string all;
  const int number = port != 0 ? port : scheme == "ldaps" ? 636 : 389;
  for (std::size_t begin = 0; begin < servers.size();) {
    const auto end = std::min(servers.find(' ', begin), servers.size());
    const std::string host = servers.substr(begin, end - begin);
    if (!host.empty()) {
      // A server of the list may carry a port of its own.
      const bool has_port = host.front() != '[' && host.find(':') != std::string::npos;
      all += (all.empty() ? "" : " ") +
             (has_port ? fmt::format("{}://{}", scheme, host) : fmt::format("{}://{}:{}", scheme, host, number));
    }
    begin = end + 1;
  }
  return all;
}

std::string LdapOptions::filter_for(std::string_view user) const {
  std::string safe;
  for (const char c : user) {
    if (c == '*' || c == '(' || c == ')' || c == '\\' || c == '\0') {
      safe += fmt::format("\\{:02x}", static_cast<unsigned char>(c));
    } else {
      safe += c;
    }
  }
  if (search_filter.empty()) {
    return fmt::format("({}={})", search_attribute.empty() ? "uid" : search_attribute, safe);
  }
  constexpr std::string_view placeholder = "$username";
  std::string filter = search_filter;
  for (auto at = filter.find(placeholder); at != std::string::npos; at = filter.find(placeholder, at + safe.size())) {
    filter.replace(at, placeholder.size(), safe);
  }
  return filter;
}

}  // namespace pgvigil::pool
