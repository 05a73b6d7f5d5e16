#include "pool/server_login.h"

#include <unistd.h>

#include <algorithm>

#include "pgwire/messages.h"
#include "pool/client.h"
#include "pool/worker.h"

namespace pgvigil::pool {

struct LoginSink {
  ServerLogin& login;
  Server& server;
  Verdict on_header(char, std::uint32_t, std::string_view) { return {Verdict::Kind::Whole}; }
  bool on_whole(char type, std::string_view body) { return login.on_message(type, body); }
  void forward(const netio::Slice&) {}
  void forward(std::string_view) {}
  void on_malformed(std::string_view) { login.fail_with("bad packet header from server"); }
  // Nothing that a server says during login is longer.
  [[nodiscard]] std::uint32_t message_bytes_max() const { return 1U << 20; }
};

ServerLogin::ServerLogin(Server& server, Client* client)
    : server_(server),
      worker_(server.shard().worker),
      client_(client),
      entry_(server.shard().pool.database.entry()),
      parameters_(ParameterSet::unknown(worker_.pooler().tracked)) {}

void ServerLogin::begin() {
  Pool& pool = server_.shard().pool;
  pool.connect_started(worker_.now());
  // Whose password: the entry's own, else what is stored for the pool's user, else what its client has shown.
  const LoginSecrets shown = pool.secrets();
  const auto& stored = worker_.config().auth.passwords;
  const auto found = stored.find(pool.user.name());
  if (entry_->password) {
    password_ = entry_->password->reveal();
  } else if (found != stored.end()) {
    password_ = found->second.reveal();
  } else {
    password_ = shown.password;
  }
  if (!pool.forced_user) keys_ = shown.keys;
  if (server_.shard().route == nullptr) {
    choose_host();
  } else if (!choose_member()) {
    fail_with("no member of the cluster has the role");
    return;
  }
  dial();
}

void ServerLogin::dial() {
  dial_ = std::make_unique<Dial>(worker_);
  dial_->to_host(host_, port_, [this](Result<int> fd, const Address& address) {
    server_.address_ = address;
    if (fd) {
      connected(*fd);
      return;
    }
    const bool repeated = server_.shard().failed_before(fd.error().what);
    worker_.pooler().log.put(repeated ? Level::Debug : Level::Warning, "{} {}", server_.log_name(),
                             fd.error().message());
    if (by_member_socket_) server_.shard().pool.socket_refused = true;
    fail_with(fd.error().what);
  });
}

bool ServerLogin::choose_member() {
  const PoolShard& shard = server_.shard();
  Pooler& pooler = worker_.pooler();
  const RouteTarget* target = choose_target(*shard.route, pooler.loads, worker_.now(), shard.pool.next_host++);
  if (target == nullptr) return false;
  server_.route_to(*target, shard.route->reign);
  by_member_socket_ = !target->socket_directory.empty() && !shard.pool.socket_refused;
  host_ = by_member_socket_ ? target->socket_directory : target->host;
  port_ = target->port;
  return true;
}

void ServerLogin::choose_host() {
  port_ = entry_->port;
  if (entry_->hosts.empty()) return;
  Pool& pool = server_.shard().pool;
  // Round robin: the next one at every attempt. Else: the next one after an attempt that failed.
  if (entry_->load_balance_hosts == poolcfg::LoadBalance::Disable && !pool.failing) {
    host_ = entry_->hosts[pool.next_host % entry_->hosts.size()];
    return;
  }
  const unsigned turn =
      entry_->load_balance_hosts == poolcfg::LoadBalance::Disable ? ++pool.next_host : pool.next_host++;
  host_ = entry_->hosts[turn % entry_->hosts.size()];
}

void ServerLogin::connected(int fd) {
  const poolcfg::Settings& settings = worker_.settings();
  if (settings.log_connections != 0) {
    const bool awaited = server_.shard().route != nullptr && server_.shard().pool.failing;
    worker_.pooler().log.put(awaited ? Level::Debug : Level::Log, "{} new connection to server (from {})",
                             server_.log_name(), local_of(fd).text());
  }
  server_.stream_ = worker_.loop().adopt(fd, server_);
  if (worker_.config().server_tls != nullptr && !server_.address_.unix_socket()) {
    phase_ = Phase::SslAnswer;
    server_.stream_->send(pgwire::ssl_request());
    return;
  }
  send_startup();
}

void ServerLogin::tls_ready() {
  if (worker_.settings().log_connections != 0) {
    worker_.pooler().log.put(Level::Log, "{} SSL established: {}", server_.log_name(), server_.stream_->tls()->text);
  }
  send_startup();
}

void ServerLogin::send_startup() {
  phase_ = Phase::Login;
  std::vector<std::pair<std::string, std::string>> parameters;
  Pool& pool = server_.shard().pool;
  parameters.emplace_back("user", pool.user.name());
  parameters.emplace_back("database", entry_->dbname.empty() ? entry_->name : entry_->dbname);
  for (const auto& parameter : entry_->startup_parameters) parameters.push_back(parameter);
  if (client_ != nullptr) {
    const ReplicationStart& start = *client_->replication();
    parameters.emplace_back("replication", start.value);
    if (!start.options.empty()) parameters.emplace_back("options", start.options);
    const auto& names = worker_.pooler().tracked.all();
    for (std::size_t i = 0; i < names.size(); ++i) {
      // The server knows these as reported values only; they cannot be set at startup.
      if (const auto& value = client_->parameters()->at(i)) parameters.emplace_back(names[i], *value);
    }
  }
  server_.stream_->send(pgwire::startup_message(parameters));
}

void ServerLogin::received(const netio::Slice& bytes) {
  if (phase_ == Phase::SslAnswer) {
    const char answer = bytes.data[0];
    if (bytes.size > 1) {
      // What follows the answer in clear may have been put there by somebody in between.
      fail_with("received unencrypted data after SSL response");
    } else if (answer == 'S') {
      phase_ = Phase::Handshake;
      server_.stream_->start_tls(worker_.config().server_tls, {}, host_);
    } else if (answer != 'N') {
      fail_with("bad sslreq answer");
    } else if (worker_.settings().server_tls.sslmode >= poolcfg::SslMode::Require) {
      fail_with("server refused SSL");
    } else {
      send_startup();
    }
    return;
  }
  LoginSink sink{*this, server_};
  walker_.walk(bytes, sink);
}

bool ServerLogin::on_message(char type, std::string_view body) {
  switch (type) {
    case 'R': return on_authentication(body);
    case 'S': {
      pgwire::BodyReader reader(body);
      const std::string_view name = reader.cstring();
      const std::string_view value = reader.cstring();
      if (!reader.ok()) break;
      if (name == "in_hot_standby") in_recovery_ = value == "on";
      if (const auto index = worker_.pooler().tracked.find(name)) {
        parameters_ = parameters_->with(*index, value);
      } else {
        pgwire::parameter_status(untracked_, name, value);
      }
      return true;
    }
    case 'K': cancel_key_ = std::string(body); return true;
    case 'E':
      if (phase_ == Phase::RoleQuery) {
        fail_with("the server does not say whether it is in recovery");
        return false;
      }
      if (phase_ == Phase::ConnectQuery) {
        worker_.pooler().log.put(Level::Warning, "{} connect_query failed: {}", server_.log_name(),
                                 pgwire::parse_error_fields(body).message);
        return true;
      }
      on_error(body);
      return false;
    case 'N':
    case 'A': return true;
    case 'Z':
      if (body.size() != 1) break;
      return on_ready();
    case 'D':
      if (phase_ == Phase::RoleQuery) in_recovery_ = !body.empty() && body.back() == 't';
      [[fallthrough]];
    default:
      if (phase_ == Phase::ConnectQuery || phase_ == Phase::RoleQuery) return true;
      break;
  }
  fail_with("unknown pkt from server");
  return false;
}

bool ServerLogin::on_authentication(std::string_view body) {
  pgwire::BodyReader reader(body);
  const std::uint32_t kind = reader.int32();
  if (!reader.ok()) {
    fail_with("broken authentication request from server");
    return false;
  }
  const auto wrong_type = [this] {
    fail_with("server login failed: wrong password type", Refusal{"08P01", "server login failed: wrong password type"});
    return false;
  };
  switch (kind) {
    case 0:
      if (scram_ && !scram_verified_) {
        fail_with("server skipped its proof of the password");
        return false;
      }
      return true;
    case 3:
      if (!password_) return wrong_type();
      send_password(*password_);
      return true;
    case 5: {
      const std::string_view salt = reader.bytes(4);
      if (!password_ || !reader.ok()) return wrong_type();
      const auto form = pgwire::password_form(*password_);
      if (form == pgwire::PasswordForm::Scram) return wrong_type();
      const std::string stored = form == pgwire::PasswordForm::Md5
                                     ? *password_
                                     : pgwire::md5_stored(*password_, server_.shard().pool.user.name());
      send_password(pgwire::md5_response(stored, salt));
      return true;
    }
    case 10: return sasl_begin(reader.rest());
    case 11: {
      if (!scram_) break;
      auto reply = scram_->final(reader.rest());
      if (!reply) {
        fail_with("server login failed: " + reply.error().message());
        return false;
      }
      std::string message;
      pgwire::sasl_response(message, *reply);
      server_.stream_->send(message);
      return true;
    }
    case 12: {
      if (!scram_) break;
      if (auto proven = scram_->verify(reader.rest()); !proven) {
        const Refusal refusal{"08P01", "server login failed: failed to verify server signature"};
        fail_with(refusal.message, refusal);
        return false;
      }
      scram_verified_ = true;
      return true;
    }
    default: break;
  }
  fail_with(fmt::format("server login failed: unsupported authentication method {}", kind));
  return false;
}

bool ServerLogin::sasl_begin(std::string_view mechanisms) {
  const auto offered = pgwire::parse_sasl_mechanisms(mechanisms);
  const auto offers = [&](std::string_view name) {
    return std::find(offered.begin(), offered.end(), name) != offered.end();
  };
  if (!offers("SCRAM-SHA-256")) {
    const Refusal refusal{"08P01",
                          "server login failed: none of the server's SASL authentication mechanisms are supported"};
    fail_with(refusal.message, refusal);
    return false;
  }
  const netio::TlsInfo* tls = server_.stream_->tls();
  const bool bind = tls != nullptr && !tls->server_end_point.empty() && offers("SCRAM-SHA-256-PLUS");
  const std::string binding = bind ? tls->server_end_point : std::string();
  const bool plain =
      password_ && pgwire::password_form(*password_) == pgwire::PasswordForm::Plain && !password_->empty();
  if (plain) {
    scram_ = std::make_unique<pgwire::ScramClient>(Secret(*password_), binding);
  } else if (keys_) {
    scram_ = std::make_unique<pgwire::ScramClient>(*keys_, binding);
  } else {
    const Refusal refusal{"08P01", "server login failed: wrong password type"};
    fail_with(refusal.message, refusal);
    return false;
  }
  std::string message;
  pgwire::sasl_initial_response(message, bind ? "SCRAM-SHA-256-PLUS" : "SCRAM-SHA-256", scram_->first());
  server_.stream_->send(message);
  return true;
}

void ServerLogin::send_password(std::string_view text) {
  std::string message;
  pgwire::password_message(message, text);
  server_.stream_->send(message);
}

void ServerLogin::on_error(std::string_view body) {
  const pgwire::ErrorFields fields = pgwire::parse_error_fields(body);
  const bool repeated = server_.shard().failed_before(fields.message);
  worker_.pooler().log.put(repeated ? Level::Debug : Level::Warning, "{} server login failed: {} {}",
                           server_.log_name(), fields.severity, fields.message);
  if (by_member_socket_ && fields.sqlstate.substr(0, 2) == "28") {
    // pg_hba.conf may have other rules for the socket: no word about them for clients.
    server_.shard().pool.socket_refused = true;
    fail_with(fields.message);
    return;
  }
  fail_with(fields.message, Refusal{fields.sqlstate.empty() ? "08P01" : fields.sqlstate, fields.message});
}

// What etcd says and what the server is may differ for a moment: a leader is one before its promotion has ended, and an
// old leader may still run. PostgreSQL reports in_hot_standby from version 14 on; others are asked.
bool ServerLogin::check_role() {
  const RouteTarget* target = server_.target();
  if (target == nullptr || server_.replication()) return true;
  if (!in_recovery_ && phase_ == Phase::Login) {
    phase_ = Phase::RoleQuery;
    std::string message;
    pgwire::query(message, "SELECT pg_catalog.pg_is_in_recovery()");
    server_.stream_->send(message);
    return false;
  }
  if (in_recovery_.value_or(!target->leader) != target->leader) return true;
  fail_with(target->leader ? fmt::format("{} is not promoted yet", target->member)
                           : fmt::format("{} is not a replica any more", target->member));
  return false;
}

bool ServerLogin::on_ready() {
  if (phase_ != Phase::ConnectQuery && !check_role()) return server_.state() != ServerState::Closed;
  if (phase_ != Phase::ConnectQuery && !entry_->connect_query.empty()) {
    phase_ = Phase::ConnectQuery;
    std::string message;
    pgwire::query(message, entry_->connect_query);
    server_.stream_->send(message);
    return true;
  }
  complete();
  return false;
}

void ServerLogin::complete() {
  Pool& pool = server_.shard().pool;
  if (!pool.has_welcome && client_ == nullptr) {
    auto welcome = std::make_shared<Welcome>();
    welcome->untracked = untracked_;
    welcome->parameters = parameters_;
    pool.set_welcome(std::move(welcome), server_.generation_);
  }
  Client* client = client_;
  Server& server = server_;
  const std::string untracked = untracked_;
  server.logged_in(parameters_, cancel_key_);
  if (client != nullptr) client->replication_ready(untracked);
}

void ServerLogin::ended(int error, const std::string& tls_error) {
  if (phase_ == Phase::Handshake) {
    fail_with(tls_error.empty() ? "TLS handshake failed" : "TLS handshake failed: " + tls_error);
  } else if (error == 0) {
    fail_with("server conn crashed?");
  } else {
    fail_with("server conn crashed? " + errno_text(error));
  }
}

void ServerLogin::fail_with(const std::string& reason, const std::optional<Refusal>& refusal) {
  server_.login_failed(reason, refusal);
}

void Server::connect() {
  login_ = std::make_unique<ServerLogin>(*this, nullptr);
  login_->begin();
}

void Server::connect_for(Client& client) {
  replication_ = true;
  owner_ = &client;
  client_ = &client;
  login_ = std::make_unique<ServerLogin>(*this, &client);
  login_->begin();
}

}  // namespace pgvigil::pool
