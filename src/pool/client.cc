#include "pool/client.h"

#include <fmt/format.h>

#include "pgwire/messages.h"
#include "pool/causal_reads.h"
#include "pool/client_login.h"
#include "pool/server.h"
#include "pool/worker.h"

namespace pgvigil::pool {
namespace {

// Of a client that waits; more stays with the kernel.
constexpr std::size_t kHeldBytesMax = 16384;

}  // namespace

std::string ClientAddress::ip() const {
  return address.kind == poolcfg::PeerAddress::Kind::Unix ? "unix" : ip_text(address);
}

std::string ClientAddress::text() const {
  if (address.kind == poolcfg::PeerAddress::Kind::Unix) return fmt::format("unix({}):{}", pid, port);
  if (address.kind == poolcfg::PeerAddress::Kind::V6) return fmt::format("[{}]:{}", ip_text(address), port);
  return fmt::format("{}:{}", ip_text(address), port);
}

Client::Client(Worker& worker, std::uint64_t id, int fd, ClientAddress address, std::uint16_t listen_port)
    : worker_(worker),
      id_(id),
      connected_at_(worker.now()),
      last_activity_(connected_at_),
      address_(address),
      listen_port_(listen_port) {
  login_ = std::make_unique<ClientLogin>(*this);
  stream_ = worker.loop().adopt(fd, *this);
}

Client::~Client() = default;

std::string Client::database_name() const { return database_ != nullptr ? database_->name() : "(nodb)"; }
std::string Client::user_name() const { return user_ != nullptr ? user_->name() : "(nouser)"; }

std::string Client::log_name() const {
  if (login_) return fmt::format("C-{:#x}: {}@{}", id_, login_->names(), address_.text());
  return fmt::format("C-{:#x}: {}/{}@{}", id_, database_name(), user_name(), address_.text());
}

// --- the end

void Client::close(std::string_view reason) {
  if (state_ == State::Closed) return;
  Pooler& pooler = worker_.pooler();
  if (!silent_ && worker_.settings().log_disconnections != 0) {
    pooler.log.put(Level::Log, "{} closing because: {} (age={}s)", log_name(), reason,
                   std::chrono::duration_cast<std::chrono::seconds>(worker_.now() - connected_at_).count());
  }
  state_ = State::Closed;
  if (shard_ != nullptr) shard_->withdraw(*this);
  if (causal_) causal_->abandon();
  if (server_ != nullptr) release_server_at_close();
  leave_pool();
  if (cancel_key_ != 0) pooler.cancels.remove(cancel_key_);
  if (login_) {
    login_->abandon();
    worker_.bury(std::shared_ptr<void>(std::move(login_)));
  }
  // Before the socket closes: a client that sees its end may come again at once, and finds its place free.
  --pooler.client_count;
  --worker_.client_count;
  stream_.reset();
  worker_.bury(std::unique_ptr<Client>(this));
}

void Client::refuse(const Refusal& refusal) {
  if (state_ == State::Closed) return;
  const std::string_view text = std::string_view(refusal.message).substr(0, 127);
  if (worker_.settings().log_pooler_errors != 0) {
    worker_.pooler().log.put(Level::Warning, "{} pooler error: {}", log_name(), refusal.message);
  }
  std::string message;
  pgwire::error_response(message, "FATAL", refusal.sqlstate, text);
  if (stream_) stream_->send(message);
  close(refusal.message);
}

// There is no ROLLBACK: what a client leaves behind in a transaction costs the server connection.
void Client::release_server_at_close() {
  Server& server = *server_;
  server_ = nullptr;
  if (server.replication()) {
    server.unlink();
    server.close("client disconnected");
  } else if (!server.quiet() || walker_.inside_message() || server.restoring()) {
    server.unlink();
    server.close("client disconnected with query in progress");
  } else if (server.transaction_status() != 'I') {
    server.unlink();
    server.close("client disconnect while server was not ready");
  } else {
    server.shard().release(server);  // a causal read may have one of another pool
  }
}

void Client::leave_pool() {
  if (shard_ != nullptr) --shard_->clients;
  if (counted_) {
    --database_->clients;
    --user_->clients;
    counted_ = false;
  }
}

void Client::enter_pool(PoolShard& shard) {
  shard_ = &shard;
  ++shard.clients;
  shard.statistics.logins.add(1);
}

void Client::to_list_of_logged_in() {
  worker_.logins.remove(*this);
  worker_.clients.push_back(*this);
}

bool Client::count_in_limits() {
  const poolcfg::Settings& settings = worker_.settings();
  const auto& users = worker_.config().file.users;
  const auto own = users.find(user_->name());
  const int of_user = own != users.end() && own->second.max_user_client_connections
                          ? *own->second.max_user_client_connections
                          : settings.max_user_client_connections;
  const auto entry = database_->entry();
  const int of_database = entry->max_db_client_connections && *entry->max_db_client_connections > 0
                              ? *entry->max_db_client_connections
                              : settings.max_db_client_connections;
  // Counted first and looked at then: two logins at the same time cannot both be the last one permitted.
  counted_ = true;
  const int in_database = ++database_->clients;
  const int as_user = ++user_->clients;
  if (of_database > 0 && in_database > of_database) {
    refuse("client connections exceeded (max_db_client_connections)");
    return false;
  }
  if (of_user > 0 && as_user > of_user) {
    refuse("client connections exceeded (max_user_client_connections)");
    return false;
  }
  return true;
}

// --- what it sends

// Towards the linked server connection.
struct Client::ToServer {
  Client& client;
  Verdict on_header(char type, std::uint32_t body, std::string_view begin) {
    return client.on_header(type, body, begin);
  }
  bool on_whole(char type, std::string_view body) { return client.on_whole(type, body); }
  void forward(const netio::Slice& slice) {
    client.server_->send(slice);
    client.record(slice.text());
  }
  void forward(std::string_view bytes) { client.to_server(bytes); }
  void on_malformed(std::string_view header) { client.on_malformed(header); }
  [[nodiscard]] std::uint32_t message_bytes_max() const { return client.message_bytes_max(); }
};

std::uint32_t Client::message_bytes_max() const { return worker_.settings().max_packet_size; }

void Client::on_malformed(std::string_view header) {
  std::string hex;
  for (const char c : header) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
  refuse(fmt::format("bad packet header: '{}'", hex));
}

void Client::on_received(netio::Slice bytes) {
  last_activity_ = worker_.now();
  if (login_) {
    login_->received(bytes);
    return;
  }
  shard_->statistics.received.add(bytes.size);
  if (state_ == State::Ready) {
    process(std::move(bytes));
  } else {
    wait_with(bytes.text());
  }
}

void Client::process(netio::Slice bytes) {
  ToServer sink{*this};
  const std::size_t consumed = walker_.walk(bytes, sink);
  if (state_ == State::Closed) return;
  if (server_ != nullptr) server_->answer_fakes();
  if (server_ != nullptr && !walker_.forwarding()) server_->release_behind_message();
  if (state_ == State::Ready) {
    if (server_ != nullptr && server_->stream()->unsent() > netio::kHighWater && !paused_by_server_) {
      paused_by_server_ = true;
      stream_->pause();
    }
    return;
  }
  held_.insert(0, bytes.data + consumed, bytes.size - consumed);
  wait_with({});
}

// It waits for a server connection. It is read all the same, so that one that leaves is noticed and its query never
// runs.
void Client::wait_with(std::string_view more) {
  held_ += more;
  if (held_.size() > kHeldBytesMax) stream_->pause();
  if (state_ == State::Waiting && leaves_in_held()) close("client close request");
}

// Walks the frames behind the message that waits. Only a Terminate matters.
bool Client::leaves_in_held() const {
  if (!walker_.waiting_body()) return false;
  std::size_t at = *walker_.waiting_body();
  while (at + pgwire::kHeaderBytes <= held_.size()) {
    if (held_[at] == 'X') return true;
    at += 1 + std::size_t{pgwire::load32(held_.data() + at + 1)};
  }
  return false;
}

void Client::process_held() {
  state_ = State::Ready;
  const std::string held = std::move(held_);
  held_.clear();
  process(netio::Slice{{}, held.data(), held.size()});
  if (state_ == State::Ready && !paused_by_server_ && stream_->paused()) stream_->resume();
}

void Client::on_end(int error) {
  if (login_) {
    login_->ended(error);
    return;
  }
  close(error == 0 ? "client unexpected eof" : "client connection broke: " + errno_text(error));
}

void Client::on_room() {
  if (server_ != nullptr) server_->resume_for_client();
}

void Client::server_has_room() {
  if (!paused_by_server_) return;
  paused_by_server_ = false;
  if (state_ == State::Ready) stream_->resume();
}

void Client::read_on() {
  if (state_ == State::Ready && !paused_by_server_ && stream_) stream_->resume();
}

void Client::on_tls() {
  if (login_) login_->tls_ready();
}

// --- getting a server connection

bool Client::acquire() {
  if (server_ != nullptr) return true;
  if (replication_) {
    close("replication connection has no server");
    return false;
  }
  if (!query_running_) request_started = worker_.now();
  if (causal_ && causal_->must_ask_leader()) {
    state_ = State::Waiting;
    causal_->ask_leader();
    return false;
  }
  std::optional<Refusal> refused;
  Server* server = shard_->take_or_queue(*this, refused);
  if (refused) {
    refuse(*refused);
    return false;
  }
  if (server == nullptr) {
    state_ = State::Waiting;
    return false;
  }
  return linked_and_ready(*server);
}

// True: its session has this client's parameters. Else they are being set, and parameters_restored() follows.
bool Client::linked_and_ready(Server& server) {
  if (causal_ && causal_->must_check(server)) {
    state_ = State::Waiting;
    causal_->check(server);
    return false;
  }
  server_ = &server;
  server.set_client(this);
  if (parameters_ == server.parameters()) return true;
  const std::string commands = restore_commands(worker_.pooler().tracked, *parameters_, *server.parameters());
  if (commands.empty()) {
    parameters_ = adopt_spelling(parameters_, server.parameters());
    return true;
  }
  state_ = State::Restoring;
  server.restore_parameters(commands);
  return false;
}

void Client::on_server(Server& server) {
  if (linked_and_ready(server)) process_held();
}

void Client::parameters_restored(bool worked) {
  if (!worked) {
    server_->close_with_client("invalid server parameter", {"08P01", "invalid server parameter"});
    return;
  }
  parameters_ = adopt_spelling(parameters_, server_->parameters());
  server_->set_parameters(parameters_);
  process_held();
}

void Client::on_refused(const Refusal& refusal) { refuse(refusal); }

void Client::on_server_lost(const Refusal& refusal, bool unsent) {
  server_ = nullptr;
  if (!unsent || state_ != State::Restoring) {
    refuse(refusal);
    return;
  }
  state_ = State::Waiting;
  take_server();
}

void Client::take_server() {
  std::optional<Refusal> refused;
  Server* server = shard_->take_or_queue(*this, refused);
  if (refused) {
    refuse(*refused);
  } else if (server != nullptr) {
    on_server(*server);
  }
}

CausalReads& Client::causal() {
  if (!causal_) causal_ = std::make_unique<CausalReads>(*this);
  return *causal_;
}

void Client::on_welcome() {
  if (login_) login_->welcome();
}

void Client::on_long_wait() {
  std::string message;
  pgwire::notice_response(message, "NOTICE", "00000",
                          "No server connection available in postgres backend, client being queued");
  stream_->send(message);
}

// --- what the server answers

void Client::forward(const netio::Slice& slice) {
  stream_->send(slice);
  if (stream_->unsent() > netio::kHighWater) server_->pause_for_client();
}

void Client::forward(std::string_view bytes) { stream_->send(bytes); }

void Client::requests_done(char transaction_status) {
  const TimePoint now = worker_.now();
  if (query_running_) {
    shard_->statistics.query_time.add(micros(now - request_started));
    query_running_ = false;
  }
  if (batch_ != nullptr) batch_->recording = false;
  if (causal_ && transaction_status == 'I') causal_->committed(*server_);
  if (transaction_running_ && transaction_status == 'I') {
    shard_->statistics.transaction_time.add(micros(now - transaction_started_));
    transaction_running_ = false;
  }
}

void Client::server_released() {
  server_ = nullptr;
  if (paused_by_server_) {
    paused_by_server_ = false;
    if (state_ == State::Ready) stream_->resume();
  }
}

void Client::parameter_reported(std::size_t index, std::string_view value) {
  parameters_ = parameters_->with(index, value);
  // Usually both sides have the same set now, and comparing them stays a comparison of pointers.
}

void Client::replication_ready(std::string_view untracked_parameters) {
  if (login_) login_->replication_welcome(untracked_parameters);
}

// The server refused the text: the name stands for nothing, as with PostgreSQL itself.
void Client::parse_failed(const Statement& statement) {
  if (unnamed_.get() == &statement) unnamed_ = nullptr;
  if (!statements_) return;
  for (auto entry = statements_->begin(); entry != statements_->end();) {
    entry = entry->second.get() == &statement ? statements_->erase(entry) : std::next(entry);
  }
}

void Client::statements_discarded() {
  if (statements_) statements_->clear();
  unnamed_ = nullptr;
}

}  // namespace pgvigil::pool
