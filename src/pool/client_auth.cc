// The methods of authentication, client side. Whether a user exists is never told: an unknown one goes through the same
// exchange with a password that nothing matches.
#include <pwd.h>

#include <algorithm>
#include <array>

#include "pool/client_login.h"
#include "pool/worker.h"

namespace pgvigil::pool {
namespace {

bool contains(const std::vector<std::string>& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

std::string user_name_of(unsigned uid) {
  std::array<char, 4096> space{};
  passwd entry{};
  passwd* found = nullptr;
  if (getpwuid_r(uid, &entry, space.data(), space.size(), &found) != 0 || found == nullptr) return {};
  return found->pw_name;
}

}  // namespace

void ClientLogin::deny(std::string_view text) {
  if (settings().log_connections != 0) {
    pooler().log.put(Level::Log, "{} login failed: db={} user={}", client_.log_name(), database_name_, user_name_);
  }
  client_.refuse(text);
}

void ClientLogin::find_user() {
  const auto& passwords = config().auth.passwords;
  const auto known = passwords.find(user_name_);
  if (known != passwords.end()) {
    user_known_ = true;
    stored_ = known->second.reveal();
  }
  // Limits are looked at before the password is asked for, where the user is one that we know.
  if (client_.database_ != nullptr && user_known_) {
    client_.user_ = &pooler().catalog.user(user_name_);
    if (!client_.count_in_limits()) return;
  }
  const poolcfg::AuthType type = settings().auth_type;
  const bool by_others =
      type == poolcfg::AuthType::Any || type == poolcfg::AuthType::Pam || type == poolcfg::AuthType::Ldap;
  const std::string& asking =
      entry_ != nullptr && !entry_->auth_user.empty() ? entry_->auth_user : settings().auth_user;
  if (user_known_ || by_others || asking.empty() || client_.database_ == nullptr) {
    choose_method();
    return;
  }
  const std::string& elsewhere = !entry_->auth_dbname.empty() ? entry_->auth_dbname : settings().auth_dbname;
  Database* database = elsewhere.empty() ? client_.database_ : pooler().catalog.database(elsewhere);
  if (database == nullptr || elsewhere == "pgbouncer") {
    client_.refuse("bouncer config error");
    return;
  }
  if (database->disabled) {
    client_.refuse(fmt::format("authentication database \"{}\" is disabled", database->name()));
    return;
  }
  phase_ = Phase::Lookup;
  User& user = pooler().catalog.user(asking);
  const auto role = read_role(*database->entry());
  PoolShard& shard = client_.worker_.shard(pooler().catalog.pool(*database, user, false, role));
  const std::string& query = entry_->auth_query.empty() ? settings().auth_query : entry_->auth_query;
  lookup_ = std::make_unique<AuthLookup>(shard, query, user_name_, [this, alive = alive_](auto row) {
    if (*alive) looked_up(std::move(row));
  });
  lookup_->begin();
}

void ClientLogin::looked_up(Result<std::optional<AuthLookup::Row>> row) {
  client_.worker_.bury(std::shared_ptr<void>(std::move(lookup_)));
  if (!row) {
    pooler().log.put(Level::Warning, "{} {}", client_.log_name(), row.error().message());
    client_.refuse("bouncer config error");
    return;
  }
  if (!row->has_value()) {
    deny("no such user");
    return;
  }
  user_known_ = true;
  user_name_ = (*row)->user;
  stored_ = (*row)->password.value_or("");
  if ((*row)->password) proven_.password = *(*row)->password;
  choose_method();
}

void ClientLogin::choose_method() {
  if (settings().log_connections != 0) {
    const netio::TlsInfo* tls = client_.stream_->tls();
    pooler().log.put(Level::Log, "{} login attempt: db={} user={} tls={} replication={}", client_.log_name(),
                     database_name_, user_name_, tls == nullptr ? "no" : tls->text,
                     !client_.replication_           ? "no"
                     : client_.replication_->logical ? "database"
                                                     : "yes");
  }
  if (is_console() && !console_permitted()) return;
  poolcfg::AuthType method = settings().auth_type;
  if (method == poolcfg::AuthType::Hba) {
    poolcfg::HbaQuery query;
    query.address = client_.address_.address;
    query.tls = client_.stream_->tls() != nullptr;
    using Replication = poolcfg::HbaQuery::Replication;
    query.replication = !client_.replication_           ? Replication::None
                        : client_.replication_->logical ? Replication::Logical
                                                        : Replication::Physical;
    query.database = database_name_;
    query.user = user_name_;
    const poolcfg::HbaRule* rule = config().hba.match(query);
    if (rule == nullptr) {
      deny("no authentication method is found");
      return;
    }
    method = rule->method;
    ident_map_ = rule->map;
    method_options_ = rule->options;
  }
  begin_method(method, method_options_);
}

bool ClientLogin::console_permitted() {
  const bool unix_socket = client_.address_.address.kind == poolcfg::PeerAddress::Kind::Unix;
  same_uid_ = unix_socket && client_.address_.uid == geteuid();
  if (same_uid_ && user_name_ == "pgbouncer") {
    admin_ = true;
    if (settings().log_connections != 0) {
      pooler().log.put(Level::Log, "{} pgbouncer access from unix socket", client_.log_name());
    }
    to_console();
    return false;  // no method is needed any more
  }
  if (contains(settings().admin_users, user_name_)) {
    admin_ = true;
  } else if (!contains(settings().stats_users, user_name_) && settings().auth_type != poolcfg::AuthType::Any) {
    deny("not allowed");
    return false;
  }
  return true;
}

void ClientLogin::begin_method(poolcfg::AuthType method, const std::string& options) {
  using poolcfg::AuthType;
  method_ = method;
  method_options_ = options;
  const std::string stored = stored_.value_or("");
  switch (method) {
    case AuthType::Any:
      if (!is_console() && (entry_ == nullptr || entry_->user.empty())) {
        client_.refuse("bouncer config error");
        return;
      }
      authenticated();
      return;
    case AuthType::Trust:
      if (!user_known_) {
        deny("\"trust\" authentication failed");
        return;
      }
      authenticated();
      return;
    case AuthType::Md5:
      if (pgwire::password_form(stored) == pgwire::PasswordForm::Scram) {
        begin_scram();
      } else {
        begin_md5();
      }
      return;
    case AuthType::ScramSha256: begin_scram(); return;
    case AuthType::Plain:
    case AuthType::Pam:
    case AuthType::Ldap: {
      phase_ = Phase::Password;
      std::string message;
      pgwire::authentication_cleartext(message);
      send(message);
      return;
    }
    case AuthType::Cert: by_certificate(); return;
    case AuthType::Peer: by_peer(); return;
    case AuthType::Reject: deny("login rejected"); return;
    case AuthType::Hba: break;
  }
  client_.refuse("bouncer config error");
}

void ClientLogin::begin_md5() {
  phase_ = Phase::Password;
  salt_ = pgwire::random_bytes(4);
  std::string message;
  pgwire::authentication_md5(message, salt_);
  send(message);
}

void ClientLogin::begin_scram() {
  phase_ = Phase::Sasl;
  const netio::TlsInfo* tls = client_.stream_->tls();
  const std::string binding = tls != nullptr ? tls->server_end_point : std::string();
  const std::string stored = stored_.value_or("");
  const auto iterations = static_cast<std::uint32_t>(settings().scram_iterations);
  pgwire::ScramSecret secret = pgwire::mock_scram_secret(user_name_, pooler().mock_key, iterations);
  if (user_known_ && !stored.empty()) {
    if (auto parsed = pgwire::parse_scram_secret(stored)) {
      secret = *parsed;
      scram_passes_on_ = true;
    } else if (pgwire::password_form(stored) == pgwire::PasswordForm::Plain) {
      secret = pooler().catalog.user(user_name_).ad_hoc_secret(stored, iterations);
    }
  }
  scram_ = std::make_unique<pgwire::ScramServer>(secret, binding);
  std::string message;
  std::vector<std::string_view> mechanisms;
  if (!binding.empty()) mechanisms.emplace_back("SCRAM-SHA-256-PLUS");
  mechanisms.emplace_back("SCRAM-SHA-256");
  pgwire::authentication_sasl(message, mechanisms);
  send(message);
}

void ClientLogin::on_sasl_initial(std::string_view body) {
  pgwire::BodyReader reader(body);
  const std::string_view mechanism = reader.cstring();
  const std::uint32_t length = reader.int32();
  const std::string_view data = reader.bytes(length == 0xFFFFFFFF ? 0 : length);
  const bool plus = mechanism == "SCRAM-SHA-256-PLUS";
  const bool offered =
      !plus || (client_.stream_->tls() != nullptr && !client_.stream_->tls()->server_end_point.empty());
  if (!reader.complete() || (mechanism != "SCRAM-SHA-256" && !plus) || !offered) {
    deny("client selected an invalid SASL authentication mechanism");
    return;
  }
  auto reply = scram_->first(data, plus);
  if (!reply) {
    deny("SASL authentication failed");
    return;
  }
  phase_ = Phase::SaslProof;
  std::string message;
  pgwire::authentication_sasl_continue(message, *reply);
  send(message);
}

void ClientLogin::on_sasl_proof(std::string_view body) {
  auto reply = scram_->final(body);
  if (!reply || !user_known_) {
    deny("SASL authentication failed");
    return;
  }
  if (scram_passes_on_) proven_.keys = scram_->proven();
  std::string message;
  pgwire::authentication_sasl_final(message, *reply);
  send(message);
  authenticated();
}

void ClientLogin::on_password_message(std::string_view body) {
  pgwire::BodyReader reader(body);
  const std::string_view typed = reader.cstring();
  if (!reader.complete()) {
    deny("broken password packet");
    return;
  }
  if (typed.empty()) {
    deny("empty password returned by client");
    return;
  }
  check_password(typed);
}

void ClientLogin::check_password(std::string_view typed) {
  if (method_ == poolcfg::AuthType::Pam || method_ == poolcfg::AuthType::Ldap) {
    phase_ = Phase::Checking;
    const std::string password(typed);
    const bool pam = method_ == poolcfg::AuthType::Pam;
    const std::string& options = method_options_.empty() ? settings().auth_ldap_options : method_options_;
    if (!pam && options.empty()) {
      deny("auth_ldap_options is null");
      return;
    }
    if (!pooler().check_blocking) {
      client_.refuse("bouncer config error");
      return;
    }
    pooler().check_blocking({pam, user_name_, password, client_.address_.ip(), options}, client_.worker_.loop(),
                            [this, alive = alive_, password, pam](bool right) {
                              if (!*alive) return;
                              if (!right) {
                                deny(pam ? "PAM authentication failed" : "LDAP authentication failed");
                                return;
                              }
                              proven_.password = password;
                              authenticated();
                            });
    return;
  }
  const std::string stored = stored_.value_or("");
  bool right = false;
  if (method_ == poolcfg::AuthType::Plain) {
    right = pgwire::password_matches(stored, user_name_, typed);
  } else {
    // The same work for a user that does not exist, and a comparison that takes the same time.
    const std::string md5 =
        pgwire::password_form(stored) == pgwire::PasswordForm::Md5 ? stored : pgwire::md5_stored(stored, user_name_);
    right = pgwire::equal_constant_time(pgwire::md5_response(md5, salt_), typed) && !stored.empty();
  }
  if (!right || !user_known_) {
    deny("password authentication failed");
    return;
  }
  authenticated();
}

void ClientLogin::by_certificate() {
  const netio::TlsInfo* tls = client_.stream_->tls();
  bool right = false;
  if (tls != nullptr && tls->peer_certificate && user_known_) {
    if (ident_map_.empty()) {
      right = netio::certificate_names(*tls, user_name_);
    } else {
      right = config().ident.permits(ident_map_, tls->peer_common_name, user_name_);
      for (const auto& name : tls->peer_names) right = right || config().ident.permits(ident_map_, name, user_name_);
    }
  }
  if (!right) {
    deny("certificate authentication failed");
    return;
  }
  authenticated();
}

void ClientLogin::by_peer() {
  const bool unix_socket = client_.address_.address.kind == poolcfg::PeerAddress::Kind::Unix;
  const std::string system_user = unix_socket ? user_name_of(client_.address_.uid) : std::string();
  if (system_user.empty() || !user_known_ || !config().ident.permits(ident_map_, system_user, user_name_)) {
    deny("unix socket login rejected");
    return;
  }
  authenticated();
}

}  // namespace pgvigil::pool
