// A logged-in client's messages: what needs a server connection, what is counted, and which names are rewritten.
#include <functional>

#include "pgwire/messages.h"
#include "pool/causal_reads.h"
#include "pool/client.h"
#include "pool/server.h"
#include "pool/worker.h"

namespace pgvigil::pool {
namespace {

// Names of statements and portals are identifiers of at most 63 bytes in practice; more than this is an attack.
constexpr std::size_t kNamesBytesMax = 8192;
// An unnamed statement that is longer than this is passed on as it comes.
constexpr std::uint32_t kUnnamedBytesMax = 16384;
// A batch that is longer than this is not kept for a repetition.
constexpr std::size_t kBatchBytesMax = 8192;

// Behind the query: the number of parameter types, and that many of them.
bool types_are_whole(std::string_view query_and_types) {
  pgwire::BodyReader reader(query_and_types);
  reader.cstring();
  const std::uint16_t count = reader.int16();
  reader.bytes(std::size_t{count} * 4);
  return reader.complete();
}

}  // namespace

bool Client::tracks_statements() const {
  return worker_.settings().max_prepared_statements > 0 && shard_->rules.mode != poolcfg::PoolMode::Session &&
         !replication_;
}

void Client::request_begins() {
  const TimePoint now = worker_.now();
  if (!query_running_) {
    query_running_ = true;
    if (server_ == nullptr || now < request_started) request_started = now;
    shard_->statistics.queries.add(1);
  }
  if (!transaction_running_) {
    transaction_running_ = true;
    transaction_started_ = request_started;
    shard_->statistics.transactions.add(1);
  }
}

Verdict Client::on_header(char type, std::uint32_t body, std::string_view begin) {
  using Kind = Verdict::Kind;
  switch (type) {
    case 'X': close("client close request"); return {Kind::Abort};
    case 'd':
    case 'c':
    case 'f':
      // Without a server connection these are the rest of a COPY that the server has ended with an error.
      if (server_ == nullptr) return {Kind::Drop};
      if (type != 'd' && server_->in_copy_in()) push(type);
      return {Kind::Forward};
    case 'Q':
    case 'F':
    case 'S':
    case 'P':
    case 'B':
    case 'D':
    case 'E':
    case 'C':
    case 'H': break;
    default: refuse("unknown pkt"); return {Kind::Abort};
  }
  if (type == 'Q' && worker_.settings().disable_pqexec != 0) {
    refuse("PQexec disallowed");
    return {Kind::Abort};
  }
  if (type == 'Q' && shard_->route != nullptr && may_be_own_setting(body, begin)) {
    if (begin.size() < body) return {Kind::More};
    if (take_own_setting(begin.substr(0, begin.find('\0')))) return {Kind::Drop};
  }
  const bool tracks = tracks_statements();
  if (type == 'C' && tracks && server_ == nullptr) {
    if (begin.empty() && body > 0) return {Kind::More};
    if (begin.size() > 1 && begin[0] == 'S' && begin[1] != '\0') return {Kind::Whole};  // answered without a server
  }
  if (server_ != nullptr && server_->fenced()) {
    server_->close_with_client("the leader's reign is over", kPastReign);
    return {Kind::Abort};
  }
  if (server_ != nullptr && server_->repeat_due()) {
    state_ = State::Restoring;
    return {Kind::Stop};
  }
  if (server_ == nullptr) {
    const bool fresh = !query_running_;
    if (fresh) request_started = worker_.now();
    if (!acquire()) return {state_ == State::Closed ? Kind::Abort : Kind::Stop};
  } else if (!query_running_) {
    request_started = worker_.now();
  }
  if (type != 'H') request_begins();
  if (tracks && (type == 'P' || type == 'B' || type == 'D' || type == 'C')) return tracked_header(type, body, begin);
  if (type != 'H') push(type);
  return {Kind::Forward};
}

// --- settings that are the pooler's own

bool Client::may_be_own_setting(std::uint32_t body, std::string_view begin) const {
  constexpr std::uint32_t kLongest = 128;
  constexpr std::string_view kSet = "set";
  if (body > kLongest || (server_ != nullptr && (!server_->quiet() || server_->transaction_status() == 'E'))) {
    return false;
  }
  for (std::size_t i = 0; i < std::min(begin.size(), kSet.size()); ++i) {
    if ((begin[i] | 0x20) != kSet[i]) return false;
  }
  return true;
}

bool Client::take_own_setting(std::string_view sql) {
  const auto setting = parse_own_setting(sql);
  if (!setting) return false;
  std::string reply;
  if (!setting->problem.empty()) {
    pgwire::error_response(reply, "ERROR", "22023", setting->problem);
  } else {
    if (setting->causal_reads) causal().set_on(*setting->causal_reads);
    if (setting->after_lsn) causal().set_after(*setting->after_lsn);
    pgwire::command_complete(reply, "SET");
  }
  pgwire::ready_for_query(reply, server_ == nullptr ? 'I' : server_->transaction_status());
  forward(reply);
  return true;
}

// --- prepared statements

const StatementPtr* Client::named(std::string_view name) const {
  if (!statements_) return nullptr;
  const auto found = statements_->find(name);
  return found == statements_->end() ? nullptr : &found->second;
}

Verdict Client::tracked_header(char type, std::uint32_t body, std::string_view begin) {
  using Kind = Verdict::Kind;
  const auto pass = [&] {
    push(type);
    return Verdict{Kind::Forward};
  };
  switch (type) {
    case 'P':
      if (begin.empty() && body > 0) return {Kind::More};
      if (body == 0) break;
      if (begin[0] != '\0') return {Kind::Whole};
      if (worker_.settings().prepare_unnamed != 0 && body <= kUnnamedBytesMax) return {Kind::Whole};
      unnamed_ = nullptr;
      return pass();
    case 'B': return bind_header(body, begin);
    case 'D':
    case 'C':
      if (begin.size() < 2 && body >= 2 && begin.size() < body) return {Kind::More};
      if (body < 2) break;
      if (begin[0] == 'S' && (begin[1] != '\0' || (unnamed_ != nullptr && type == 'D'))) {
        if (body > kNamesBytesMax) break;
        return {Kind::Whole};
      }
      if (type == 'C' && begin[0] == 'S') unnamed_ = nullptr;
      return pass();
    default: break;
  }
  refuse(type == 'P' ? "broken Parse packet" : type == 'D' ? "broken Describe packet" : "broken Close packet");
  return {Kind::Abort};
}

// Only the two names are looked at; parameter values stream behind them untouched.
Verdict Client::bind_header(std::uint32_t body, std::string_view begin) {
  using Kind = Verdict::Kind;
  pgwire::BodyReader reader(begin);
  const std::string_view portal = reader.cstring();
  const std::string_view name = reader.cstring();
  if (!reader.ok()) {
    if (begin.size() < body && begin.size() < kNamesBytesMax) return {Kind::More};
    refuse("broken Bind packet");
    return {Kind::Abort};
  }
  if (name.empty() && unnamed_ == nullptr) {
    push('B');
    return {Kind::Forward};
  }
  const StatementPtr* found = name.empty() ? &unnamed_ : named(name);
  if (found == nullptr) {
    refuse("prepared statement did not exist");
    return {Kind::Abort};
  }
  if (!name.empty()) shard_->statistics.binds.add(1);
  walker_.flush();
  ensure_prepared(*found);
  const std::string& server_name = (*found)->server_name();
  const auto names = static_cast<std::uint32_t>(portal.size() + name.size() + 2);
  const auto new_names = static_cast<std::uint32_t>(portal.size() + server_name.size() + 2);
  std::string& head = worker_.scratch;
  head.assign(1, 'B');
  head.resize(pgwire::kHeaderBytes);
  pgwire::store32(head.data() + 1, body - names + new_names + 4);
  head.append(portal).push_back('\0');
  head.append(server_name).push_back('\0');
  to_server(head);
  push('B');
  return {Kind::Tail, names};
}

bool Client::on_whole(char type, std::string_view body) {
  switch (type) {
    case 'P': return whole_parse(body);
    case 'D': return whole_describe(body);
    case 'C': return whole_close(body);
    default: return true;
  }
}

bool Client::whole_parse(std::string_view body) {
  pgwire::BodyReader reader(body);
  const std::string_view name = reader.cstring();
  const std::string_view rest = reader.rest();
  if (!reader.ok() || !types_are_whole(rest)) {
    refuse("broken Parse packet");
    return false;
  }
  if (name.empty()) {
    // A text that comes for the first time may well never come again: it is passed on as it is.
    const StatementPtr& seen = worker_.seen_texts.recall(rest, worker_.pooler().statements);
    if (seen == nullptr || !serve_unnamed(seen)) {
      unnamed_ = nullptr;
      std::string message;
      pgwire::parse(message, {}, rest);
      to_server(message);
      push('P');
      return true;
    }
    return true;
  }
  if (named(name) != nullptr) {
    refuse("prepared statement name is already in use");
    return false;
  }
  shard_->statistics.client_parses.add(1);
  StatementPtr statement = worker_.pooler().statements.intern(rest);
  if (!statements_) statements_ = std::make_unique<NamedStatements>();
  statements_->emplace(std::string(name), statement);
  prepare(statement, true);
  return true;
}

void Client::ensure_prepared(const StatementPtr& statement) {
  if (!server_->statements().use_if_there(*statement)) prepare(statement, false);
}

// The statement is on the server when the client's next message arrives there. `answer_to_client`: it sent a Parse.
void Client::prepare(const StatementPtr& statement, bool answer_to_client) {
  ServerStatements& there = server_->statements();
  if (there.use_if_there(*statement)) {
    if (answer_to_client) server_->fake('P');
    return;
  }
  const std::uint64_t epoch = shard_->pool.database.schema_epoch.load(std::memory_order_relaxed);
  std::string messages;
  pgwire::parse(messages, statement->server_name(), statement->query_and_types());
  push('P', answer_to_client ? Answer::Forward : Answer::Skip, statement);
  there.add(statement, epoch);
  shard_->statistics.server_parses.add(1);
  const auto limit = static_cast<std::size_t>(worker_.settings().max_prepared_statements);
  while (StatementPtr oldest = there.evict(limit)) {
    pgwire::close_statement(messages, oldest->server_name());
    push('C', Answer::Skip, std::move(oldest));
  }
  to_server(messages);
}

// False: nothing was sent, and the message has to be passed on as it is.
bool Client::serve_unnamed(const StatementPtr& statement) {
  ServerStatements& there = server_->statements();
  const std::uint64_t epoch = shard_->pool.database.schema_epoch.load(std::memory_order_relaxed);
  if (there.use_if_sure(*statement, epoch)) {
    if (unnamed_ != statement) unnamed_ = statement;
    if (server_->fakes_only() && server_->transaction_status() == 'I') record_batch(statement);
    server_->fake('P');
    return true;
  }
  if (there.has(*statement)) {
    // Its Parse is on the way and may yet be skipped behind an error: a later batch must not rest on it.
    if (!server_->fakes_only()) return false;
    std::string message;
    pgwire::close_statement(message, statement->server_name());
    to_server(message);
    push('C', Answer::Skip, nullptr);
    there.remove(*statement);
  }
  unnamed_ = statement;
  prepare(statement, true);
  return true;
}

// --- a batch that rests on a plan which may be void

void Client::push(char type, Answer answer, StatementPtr statement) {
  server_->requests().push_back({type, answer, std::move(statement)});
  if (batch_ != nullptr && batch_->recording) {
    if (answer == Answer::Skip) {
      batch_->recording = false;  // preparations of other statements are not repeated
    } else {
      batch_->types += type;
    }
  }
}

void Client::to_server(std::string_view bytes) {
  server_->send(bytes);
  record(bytes);
}

void Client::record(std::string_view bytes) {
  if (batch_ == nullptr || !batch_->recording) return;
  if (batch_->bytes.size() + bytes.size() > kBatchBytesMax) {
    batch_->recording = false;
  } else {
    batch_->bytes += bytes;
  }
}

void Client::record_batch(const StatementPtr& statement) {
  if (batch_ == nullptr) batch_ = std::make_unique<Batch>();
  if (batch_->statement != statement) batch_->statement = statement;
  batch_->bytes.clear();
  batch_->types.clear();
  batch_->recording = true;
  batch_->described = false;
}

void Client::reply_forwarded(char type) {
  if (batch_ == nullptr || !batch_->recording) return;
  if (type == 't' && !batch_->described) {
    batch_->described = true;
  } else {
    batch_->recording = false;
  }
}

// One Sync, and nothing behind it: what came later would overtake the repetition.
bool Client::can_repeat_batch() const {
  if (batch_ == nullptr || !batch_->recording) return false;
  const std::string& types = batch_->types;
  return !types.empty() && types.find('S') == types.size() - 1;
}

void Client::repeat_batch() {
  batch_->recording = false;
  const StatementPtr statement = batch_->statement;
  ServerStatements& there = server_->statements();
  there.remove(*statement);
  std::string messages;
  pgwire::close_statement(messages, statement->server_name());
  server_->requests().push_back({'C', Answer::Skip, nullptr});
  pgwire::parse(messages, statement->server_name(), statement->query_and_types());
  server_->requests().push_back({'P', Answer::Skip, statement});
  there.add(statement, shard_->pool.database.schema_epoch.load(std::memory_order_relaxed));
  shard_->statistics.server_parses.add(1);
  for (const char type : batch_->types) server_->requests().push_back({type, Answer::Forward, nullptr});
  server_->send(messages);
  server_->send(batch_->bytes);
  server_->hide_one_description(batch_->described);
  if (state_ == State::Restoring) process_held();
}

bool Client::whole_describe(std::string_view body) {
  pgwire::BodyReader reader(body.substr(1));
  const std::string_view name = reader.cstring();
  if (!reader.complete()) {
    refuse("broken Describe packet");
    return false;
  }
  const StatementPtr* found = name.empty() ? &unnamed_ : named(name);
  if (found == nullptr || *found == nullptr) {
    refuse("prepared statement did not exist");
    return false;
  }
  ensure_prepared(*found);
  std::string& message = worker_.scratch;
  message.clear();
  {
    pgwire::MessageWriter writer(message, 'D');
    writer.byte('S').cstring((*found)->server_name());
  }
  to_server(message);
  push('D');
  return true;
}

// A statement's name is closed here alone: other clients may use what it stood for.
bool Client::whole_close(std::string_view body) {
  pgwire::BodyReader reader(body.substr(1));
  const std::string_view name = reader.cstring();
  if (!reader.complete()) {
    refuse("broken Close packet");
    return false;
  }
  if (statements_) {
    const auto found = statements_->find(name);
    if (found != statements_->end()) statements_->erase(found);
  }
  if (server_ == nullptr) {
    forward(std::string_view("3\0\0\0\4", 5));
  } else {
    server_->fake('C');
  }
  return true;
}

}  // namespace pgvigil::pool
