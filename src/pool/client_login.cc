// The startup packet and what comes before it. The methods of authentication are in client_auth.cc.
#include "pool/client_login.h"

#include <algorithm>

#include "pool/cancel.h"
#include "pool/causal_reads.h"
#include "pool/console.h"
#include "pool/server.h"
#include "pool/worker.h"

namespace pgvigil::pool {
namespace {

bool contains(const std::vector<std::string>& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

// `replication` takes a boolean's spellings, or "database".
std::optional<bool> replication_is_logical(const std::string& value) {
  if (value == "database") return true;
  for (const char* word : {"yes", "on", "1", "true"}) {
    if (value == word) return false;
  }
  return std::nullopt;
}

}  // namespace

ClientLogin::~ClientLogin() { *alive_ = false; }

const poolcfg::Settings& ClientLogin::settings() const { return client_.worker_.settings(); }
const RunningConfig& ClientLogin::config() const { return client_.worker_.config(); }
Pooler& ClientLogin::pooler() { return client_.worker_.pooler(); }
void ClientLogin::send(const std::string& bytes) { client_.stream_->send(bytes); }

std::string ClientLogin::names() const {
  return fmt::format("{}/{}", database_name_.empty() ? "(nodb)" : database_name_,
                     user_name_.empty() ? "(nouser)" : user_name_);
}

void ClientLogin::ended(int error) {
  // Load balancers connect and leave without a byte; that is no event.
  if (phase_ == Phase::Startup && buffer_.empty() && client_.stream_->tls() == nullptr) client_.silent_ = true;
  const std::string tls = client_.stream_->tls_error();
  if (!tls.empty()) {
    client_.close("TLS handshake failed: " + tls);
  } else {
    client_.close(error == 0 ? "client unexpected eof" : errno_text(error));
  }
}

void ClientLogin::abandon() {
  *alive_ = false;
  lookup_.reset();
}

void ClientLogin::timed_out() {
  client_.refuse(phase_ == Phase::Welcome ? "client_login_timeout (server down)" : "client_login_timeout");
}

void ClientLogin::received(const netio::Slice& bytes) {
  buffer_.append(bytes.data, bytes.size);
  // A password may be long (tokens of cloud providers); nothing else before the welcome is.
  constexpr std::size_t kLoginBytesMax = 2 * (pgwire::kStartupBytesMax + 8);
  if (buffer_.size() > kLoginBytesMax) {
    client_.refuse("login packets too long");
    return;
  }
  step();
}

void ClientLogin::step() {
  const std::shared_ptr<bool> alive = alive_;
  while (*alive && !buffer_.empty()) {
    if (phase_ == Phase::Startup) {
      const std::size_t before = buffer_.size();
      on_startup_bytes();
      if (!*alive || phase_ == Phase::Startup) {
        if (*alive && buffer_.size() < before) continue;  // GSSENCRequest was answered; more may follow
        return;
      }
      continue;
    }
    if (phase_ != Phase::Password && phase_ != Phase::Sasl && phase_ != Phase::SaslProof) return;
    if (buffer_[0] == '\0') {  // no message has this type; a startup packet begins so
      client_.refuse("client re-sent startup pkt");
      return;
    }
    if (buffer_.size() < pgwire::kHeaderBytes) return;
    const std::uint32_t length = pgwire::load32(buffer_.data() + 1);
    if (length < 4 || length > pgwire::kStartupBytesMax + 4) {
      client_.on_malformed(std::string_view(buffer_).substr(0, pgwire::kHeaderBytes));
      return;
    }
    if (buffer_.size() < length + 1) return;
    const std::string message = buffer_.substr(0, length + 1);
    buffer_.erase(0, length + 1);
    if (message[0] == 'X') {
      client_.close("client close request");
      return;
    }
    if (message[0] != 'p') {
      client_.refuse("unknown pkt");
      return;
    }
    const std::string_view body = std::string_view(message).substr(pgwire::kHeaderBytes);
    if (phase_ == Phase::Password) {
      on_password_message(body);
    } else if (phase_ == Phase::Sasl) {
      on_sasl_initial(body);
    } else {
      on_sasl_proof(body);
    }
  }
}

void ClientLogin::on_startup_bytes() {
  const bool tcp = client_.address_.address.kind != poolcfg::PeerAddress::Kind::Unix;
  const bool encrypted = client_.stream_->tls() != nullptr;
  if (buffer_[0] == 0x16 && tcp && !encrypted && config().client_tls != nullptr) {
    phase_ = Phase::Handshake;
    const std::string first = std::move(buffer_);
    buffer_.clear();
    client_.stream_->start_tls(config().client_tls, first, {});
    return;
  }
  std::size_t consumed = 0;
  auto packet = pgwire::parse_startup(buffer_, consumed);
  if (std::holds_alternative<pgwire::NeedMore>(packet)) return;
  if (auto* bad = std::get_if<pgwire::BadPacket>(&packet)) {
    client_.refuse(fmt::format("bad packet header: '{}'", bad->hex));
    return;
  }
  const bool more = buffer_.size() > consumed;
  buffer_.erase(0, consumed);
  if (std::holds_alternative<pgwire::SslRequest>(packet)) {
    if (more) {
      client_.refuse("received unencrypted data after SSL request");
      return;
    }
    on_ssl_request();
  } else if (std::holds_alternative<pgwire::GssRequest>(packet)) {
    if (more) {
      client_.refuse("received unencrypted data after GSSAPI encryption request");
      return;
    }
    send("N");
  } else if (auto* cancel = std::get_if<pgwire::CancelRequest>(&packet)) {
    client_.silent_ = true;
    if (cancel->key.size() != 8) {
      client_.close("bad cancel request");
      return;
    }
    phase_ = Phase::Cancelling;
    deliver_cancel(client_, cancel->key);
  } else {
    on_startup(std::get<pgwire::Startup>(packet));
  }
}

void ClientLogin::cancel_done() { client_.close("cancel request delivered"); }

void ClientLogin::on_ssl_request() {
  if (client_.stream_->tls() != nullptr) {
    client_.close("SSL request inside SSL");
    return;
  }
  const bool tcp = client_.address_.address.kind != poolcfg::PeerAddress::Kind::Unix;
  if (config().client_tls == nullptr || !tcp) {
    send("N");
    return;
  }
  phase_ = Phase::Handshake;
  send("S");
  client_.stream_->start_tls(config().client_tls, {}, {});
}

void ClientLogin::tls_ready() {
  phase_ = Phase::Startup;
  step();
}

void ClientLogin::on_startup(pgwire::Startup& startup) {
  if (startup.major == 2) {
    client_.refuse("old V2 protocol not supported");
    return;
  }
  const bool tcp = client_.address_.address.kind != poolcfg::PeerAddress::Kind::Unix;
  if (settings().client_tls.sslmode >= poolcfg::SslMode::Require && tcp && client_.stream_->tls() == nullptr) {
    client_.refuse("SSL required");
    return;
  }
  if (!read_parameters(startup)) return;
  if (!is_console() && settings().max_client_conn > 0 && pooler().client_count > settings().max_client_conn) {
    client_.refuse("no more connections allowed (max_client_conn)");
    return;
  }
  if (!is_console()) {
    client_.database_ = pooler().catalog.database(database_name_);
    if (client_.database_ != nullptr) entry_ = client_.database_->entry();
  }
  find_user();
}

bool ClientLogin::read_parameters(pgwire::Startup& startup) {
  if (!startup.terminated) {
    client_.refuse("invalid startup packet layout: expected terminator as last byte");
    return false;
  }
  const TrackedNames& tracked = pooler().tracked;
  values_.resize(tracked.all().size());
  std::vector<std::string> unknown_extensions;
  for (const auto& [name, value] : startup.parameters) {
    if (name != "replication") continue;
    if (const auto logical = replication_is_logical(value)) {
      client_.replication_ = std::make_unique<ReplicationStart>(ReplicationStart{*logical, value, {}});
    }
  }
  for (const auto& [name, value] : startup.parameters) {
    if (name == "database") {
      database_name_ = value;
    } else if (name == "user") {
      user_name_ = value;
    } else if (name == "options") {
      options_ = value;
      // A replication connection has a server connection of its own, which takes them as they are.
      if (client_.replication_) {
        client_.replication_->options = value;
      } else if (!read_options(value)) {
        return false;
      }
    } else if (name == "replication") {
      continue;
    } else if (name == "causal_reads" && config().file.cluster) {
      if (!read_causal(value)) return false;
    } else if (name.rfind("_pq_.", 0) == 0) {
      unknown_extensions.push_back(name);
    } else if (const auto index = tracked.find(name)) {
      values_[*index] = value;
    } else if (!contains(settings().ignore_startup_parameters, name)) {
      client_.refuse(fmt::format("unsupported startup parameter: {}", name));
      return false;
    }
  }
  if (user_name_.empty()) {
    client_.refuse("no username supplied");
    return false;
  }
  if (user_name_.size() > 127) {
    client_.refuse("username too long");
    return false;
  }
  if (database_name_.empty()) database_name_ = user_name_;
  if (settings().application_name_add_host != 0) add_host_to_application_name();
  if (startup.minor > 0 || !unknown_extensions.empty()) {
    std::string message;
    pgwire::negotiate_protocol_version(message, 0, unknown_extensions);
    send(message);
  }
  return true;
}

bool ClientLogin::read_options(const std::string& text) {
  const auto options = pgwire::parse_options(text);
  if (!options) {
    client_.refuse("unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed");
    return false;
  }
  const bool ignored = contains(settings().ignore_startup_parameters, "options");
  for (const auto& [name, value] : *options) {
    if (const auto index = pooler().tracked.find(name)) {
      values_[*index] = value;
    } else if (name == "causal_reads" && config().file.cluster) {
      if (!read_causal(value)) return false;
    } else if (!ignored && !contains(settings().ignore_startup_parameters, name)) {
      client_.refuse(fmt::format("unsupported startup parameter in options: {}", name));
      return false;
    }
  }
  return true;
}

bool ClientLogin::read_causal(const std::string& value) {
  const auto on = parse_switch_word(value);
  if (!on) {
    client_.refuse("causal_reads is on or off");
    return false;
  }
  client_.causal().set_on(*on);
  return true;
}

void ClientLogin::add_host_to_application_name() {
  const auto index = pooler().tracked.find("application_name");
  auto& value = values_[*index];
  const ClientAddress& from = client_.address_;
  const std::string where = from.address.kind == poolcfg::PeerAddress::Kind::Unix
                                ? fmt::format("unix({}@local):{}", from.pid, from.port)
                                : fmt::format("{}:{}", from.ip(), from.port);
  value = fmt::format("{} - {}", value && !value->empty() ? *value : "app", where);
}

// --- after authentication

bool ClientLogin::on_read_port() const {
  const auto& cluster = config().file.cluster;
  return cluster && cluster->read_port != 0 && client_.listen_port_ == cluster->read_port;
}

// In place of the role of the database, for clients of the read port.
std::optional<poolcfg::ServerRole> ClientLogin::read_role(const poolcfg::DatabaseEntry& entry) const {
  if (!on_read_port() || !entry.role || entry.role == poolcfg::ServerRole::Replica) return std::nullopt;
  return poolcfg::ServerRole::Replica;
}

void ClientLogin::authenticated() {
  Pooler& all = pooler();
  if (is_console()) {
    to_console();
    return;
  }
  Database* database = client_.database_;
  if (database == nullptr || database->removed) {
    deny(fmt::format("no such database: {}", database_name_));
    return;
  }
  if (database->disabled) {
    deny(fmt::format("database \"{}\" is disabled", database_name_));
    return;
  }
  if (on_read_port() && !entry_->role) {
    deny(fmt::format("database \"{}\" has no role in the cluster: the read port does not serve it", database_name_));
    return;
  }
  if (all.shutdown != Shutdown::None) {
    deny("pooler is shutting down");
    return;
  }
  enter_pool();
}

void ClientLogin::enter_pool() {
  Catalog& catalog = pooler().catalog;
  const bool forced = !entry_->user.empty();
  if (client_.user_ == nullptr) client_.user_ = &catalog.user(user_name_);
  if (!client_.counted_ && !client_.count_in_limits()) return;
  User& server_user = forced ? catalog.user(entry_->user) : *client_.user_;
  Pool& pool = catalog.pool(*client_.database_, server_user, forced, read_role(*entry_));
  if (!forced) pool.remember(proven_);
  client_.parameters_ = ParameterSet::intern(values_);
  client_.enter_pool(client_.worker_.shard(pool));
  if (client_.replication_) {
    start_replication(pool);
    return;
  }
  phase_ = Phase::Welcome;
  welcome();
}

// Also called again when the pool's first server connection has logged in.
void ClientLogin::welcome() {
  const WelcomePtr known = client_.shard_->pool.welcome();
  if (known) {
    send_welcome(*known);
    finish();
    return;
  }
  client_.at_login = true;
  client_.request_started = client_.worker_.now();
  std::optional<Refusal> refused;
  client_.shard_->take_or_queue(client_, refused);
  if (refused) client_.refuse(*refused);
}

void ClientLogin::send_welcome(const Welcome& welcome) {
  std::string message;
  pgwire::authentication_ok(message);
  message += welcome.untracked;
  const auto& names = pooler().tracked.all();
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!values_[i]) values_[i] = welcome.parameters->at(i);
    if (values_[i]) pgwire::parameter_status(message, names[i], *values_[i]);
  }
  client_.parameters_ = ParameterSet::intern(values_);
  client_.cancel_key_ = pooler().make_cancel_key();
  pooler().cancels.add(client_.cancel_key_, {&client_.worker_, &client_});
  std::string key(8, '\0');
  for (std::size_t i = 0; i < key.size(); ++i) key[i] = static_cast<char>(client_.cancel_key_ >> (56 - 8 * i));
  pgwire::backend_key_data(message, key);
  if (!settings().login_notify_message.empty()) {
    pgwire::notice_response(message, "NOTICE", "00000", settings().login_notify_message);
  }
  pgwire::ready_for_query(message, 'I');
  send(message);
}

void ClientLogin::finish() {
  Client& client = client_;
  client.at_login = false;
  client.state_ = Client::State::Ready;
  const std::string received = std::move(buffer_);
  client.worker_.bury(std::shared_ptr<void>(std::move(client.login_)));
  client.to_list_of_logged_in();
  if (!received.empty()) client.process(netio::Slice{{}, received.data(), received.size()});
}

// A replication connection has a server connection of its own from the login on, and takes it along when it leaves.
void ClientLogin::start_replication(Pool& pool) {
  phase_ = Phase::Welcome;
  client_.at_login = true;
  PoolShard& shard = *client_.shard_;
  auto* server = shard.open_for_replication();
  if (server == nullptr) {
    client_.refuse("no server connection available for replication (pool_size)");
    return;
  }
  client_.server_ = server;
  static_cast<void>(pool);
  server->connect_for(client_);
}

void ClientLogin::replication_welcome(std::string_view untracked_parameters) {
  Welcome own;
  own.untracked = untracked_parameters;
  own.parameters = client_.server_->parameters();
  send_welcome(own);
  client_.parameters_ = client_.server_->parameters();
  finish();
}

void ClientLogin::to_console() {
  phase_ = Phase::Console;
  // A stream can move once its bytes are out; the last message of a SCRAM exchange may still be here.
  if (client_.stream_->unsent() > 0) {
    netio::Loop& loop = client_.worker_.loop();
    loop.call_at(loop.now() + std::chrono::milliseconds(1), [this, alive = alive_] {
      if (*alive) to_console();
    });
    return;
  }
  auto start = std::make_shared<ConsoleStart>();
  start->user = user_name_;
  start->admin = admin_;
  start->same_uid = same_uid_;
  start->address = client_.address_;
  start->id = client_.id_;
  start->parameters = ParameterSet::intern(values_);
  start->received = std::move(buffer_);
  start->connected_at = client_.connected_at_;
  start->cancel_key = pooler().make_cancel_key();
  Pooler& all = pooler();
  netio::Stream* stream = client_.stream_.release();
  stream->detach([&all, start](netio::Detached detached) {
    start->stream = std::move(detached);
    ++all.client_count;
    all.to_console(std::move(*start));
  });
  client_.silent_ = true;
  client_.close("console");
}

}  // namespace pgvigil::pool
