// What a server connection says, message by message, and what it means for the requests that are outstanding.
#include <algorithm>

#include "pgwire/messages.h"
#include "pool/client.h"
#include "pool/server.h"
#include "pool/worker.h"

namespace pgvigil::pool {

struct Server::FromServer {
  Server& server;

  Verdict on_header(char type, std::uint32_t body, std::string_view begin) {
    return server.on_reply(type, body, begin);
  }
  bool on_whole(char type, std::string_view body) { return server.on_whole_reply(type, body); }
  void forward(const netio::Slice& slice) {
    if (server.client_ != nullptr) server.client_->forward(slice);
  }
  void forward(std::string_view bytes) {
    if (server.client_ != nullptr) server.client_->forward(bytes);
  }
  void on_malformed(std::string_view) { server.close("bad packet header from server"); }
  [[nodiscard]] std::uint32_t message_bytes_max() const { return server.shard_->worker.settings().max_packet_size; }
};

void Server::replies(const netio::Slice& bytes) {
  FromServer sink{*this};
  walker_.walk(bytes, sink);
  if (state_ == ServerState::Closed) return;
  if (!walker_.inside_message()) emit_fakes();
  release_if_due();
}

void Server::release_if_due() {
  if (own_query_done_) {
    own_query_done_ = false;
    shard_->make_idle(*this);
    return;
  }
  if (!release_due_ || !quiet()) return;
  // The rest of a message of which the server has a part already, say of a CopyData behind a COPY that failed, must not
  // meet another client's request: Client::process() comes back to it.
  if (client_ != nullptr && client_->forwarding()) return;
  release_due_ = false;
  if (client_ != nullptr) {
    Client* client = client_;
    client->server_released();
  }
  shard_->release(*this);
}

Verdict Server::on_reply(char type, std::uint32_t body, std::string_view begin) {
  using Kind = Verdict::Kind;
  if (type == 'D' && client_ != nullptr && !restoring_) return {Kind::Forward};  // by far the most frequent one
  // Status is needed at once; parameters and errors are read whole.
  if (type == 'Z' && begin.empty() && body > 0) return {Kind::More};
  if (type == 'S') return {Kind::Whole};
  if (listener_ != nullptr && client_ == nullptr) return {Kind::Whole};
  if (client_ == nullptr || restoring_) return on_own_reply(type, body, begin);
  if (!requests_.empty() && requests_.front().answer == Answer::Fake) {
    walker_.flush();
    emit_fakes();
  }
  return on_linked_reply(type, body, begin);
}

// Reset, check and SET commands, and what a server says unasked.
Verdict Server::on_own_reply(char type, std::uint32_t body, std::string_view begin) {
  using Kind = Verdict::Kind;
  switch (type) {
    case 'Z':
      status_ = begin.empty() ? 'E' : begin[0];
      requests_.clear();
      if (restoring_) {
        restoring_ = false;
        client_->parameters_restored(!restore_failed_);
        return {state_ == ServerState::Closed ? Kind::Abort : Kind::Drop};
      }
      if (own_query_) own_query_done();
      return {state_ == ServerState::Closed ? Kind::Abort : Kind::Drop};
    case 'C':
      if (begin.size() < body) return {Kind::More};
      note_tag(begin);
      return {Kind::Drop};
    case 'E':
      if (restoring_) {
        restore_failed_ = true;
      } else if (!own_query_) {
        dirty_ = true;
      }
      return {Kind::Drop};
    case 'N':
      if (!restoring_ && !own_query_) dirty_ = true;
      return {Kind::Drop};
    case 'A':
    case 'I':
    case 'T':
    case 'D': return {Kind::Drop};
    default:
      shard_->worker.pooler().log.put(Level::Warning, "{} got packet '{}' from server when not linked", log_name(),
                                      type);
      return {Kind::Drop};
  }
}

Verdict Server::on_linked_reply(char type, std::uint32_t body, std::string_view begin) {
  using Kind = Verdict::Kind;
  switch (type) {
    case 'd':
    case 'D':
    case 'N':
    case 'A':
    case 'V': return {Kind::Forward};
    case '1': return {confirm('P') ? Kind::Forward : Kind::Drop};
    case '2': client_->reply_forwarded(type); return {confirm('B') ? Kind::Forward : Kind::Drop};
    case '3': return {confirm('C') ? Kind::Forward : Kind::Drop};
    case 't':
      if (hide_description_) {
        hide_description_ = false;
        return {Kind::Drop};
      }
      client_->reply_forwarded(type);
      return {Kind::Forward};
    case 'T':
    case 'n':
      if (!requests_.empty() && requests_.front().type == 'D') return {confirm('D') ? Kind::Forward : Kind::Drop};
      return {Kind::Forward};
    case 'C':
      if (begin.size() < body && begin.size() < 16) return {Kind::More};
      note_tag(begin);
      [[fallthrough]];
    case 'I':
    case 's':
      if (!requests_.empty() && requests_.front().type == 'E') confirm('E');
      if (type != 's') copy_ended(false);
      return {Kind::Forward};
    case 'E':
      if (client_->can_repeat_batch()) {
        if (begin.size() < body && body <= 8192) return {Kind::More};
        repeat_due_ = plan_is_void(begin);
      }
      on_error_reply();
      return {repeat_due_ ? Kind::Drop : Kind::Forward};
    case 'G': copy_ = Copy::In; return {Kind::Forward};
    case 'H': copy_ = Copy::Out; return {Kind::Forward};
    case 'W': copy_ = Copy::Both; return {Kind::Forward};
    case 'c':
      if (copy_ == Copy::Out) copy_ = Copy::None;
      return {Kind::Forward};
    case 'Z': {
      if (body != 1) {
        close_with_client("broken ReadyForQuery from server", {"08P01", "server conn crashed?"});
        return {Kind::Abort};
      }
      const bool hidden = repeat_due_;
      on_ready(begin[0]);
      return {state_ == ServerState::Closed ? Kind::Abort : hidden ? Kind::Drop : Kind::Forward};
    }
    case 'K': return {Kind::Drop};
    default: close_with_client("unknown pkt", {"08P01", "unknown pkt"}); return {Kind::Abort};
  }
}

bool Server::on_whole_reply(char type, std::string_view body) {
  if (type == 'S') {
    pgwire::BodyReader reader(body);
    const std::string_view name = reader.cstring();
    const std::string_view value = reader.cstring();
    if (reader.ok()) note_parameter(name, value);
    if (client_ != nullptr && !restoring_) {
      std::string message;
      pgwire::parameter_status(message, name, value);
      client_->forward(message);
    } else if (!restoring_ && !own_query_ && listener_ == nullptr) {
      dirty_ = true;
    }
    return true;
  }
  if (listener_ != nullptr) {
    if (type == 'Z') {
      status_ = body.empty() ? 'E' : body[0];
      requests_.clear();
    }
    listener_->on_message(*this, type, body);
  }
  return state_ != ServerState::Closed;
}

void Server::note_parameter(std::string_view name, std::string_view value) {
  const auto index = shard_->worker.pooler().tracked.find(name);
  if (!index) return;
  parameters_ = parameters_->with(*index, value);
  if (client_ != nullptr && !restoring_) client_->parameter_reported(*index, value);
}

// "cached plan must not change result type", which a statement that is parsed each time never gets to see.
bool Server::plan_is_void(std::string_view error) const {
  const pgwire::ErrorFields fields = pgwire::parse_error_fields(error);
  return fields.sqlstate == "0A000" && error.find("RevalidateCachedQuery") != std::string_view::npos;
}

void Server::note_tag(std::string_view tag) {
  const auto begins = [&](std::string_view word) { return tag.substr(0, word.size()) == word; };
  if (begins("CREATE ") || begins("ALTER ") || begins("DROP ") || begins(std::string_view("DO\0", 3))) {
    ++shard_->pool.database.schema_epoch;
    schema_changed_ = true;
    return;
  }
  if (tag.size() < 11 || tag[0] != 'D') return;
  const std::string_view text = tag.substr(0, tag.find('\0'));
  if (text != "DISCARD ALL" && text != "DEALLOCATE ALL") return;
  if (statements_) statements_->clear();
  if (client_ != nullptr) client_->statements_discarded();
}

// --- the outstanding requests

// The reply that the oldest request was waiting for has come. A reply that nobody waits for is the client's business.
bool Server::confirm(char request_type) {
  if (requests_.empty() || requests_.front().type != request_type) return true;
  const bool forward = requests_.front().answer == Answer::Forward;
  if (request_type == 'P' && requests_.front().statement) statements().confirm(*requests_.front().statement);
  requests_.pop_front();
  return forward;
}

bool Server::fakes_only() const {
  if (walker_.inside_message()) return false;
  return std::all_of(requests_.begin(), requests_.end(), [](const Request& r) { return r.answer == Answer::Fake; });
}

void Server::emit_fakes() {
  if (client_ == nullptr || in_error_) return;
  while (!requests_.empty() && requests_.front().answer == Answer::Fake) {
    const char type = requests_.front().type;
    requests_.pop_front();
    client_->forward(type == 'P' ? std::string_view("1\0\0\0\4", 5) : std::string_view("3\0\0\0\4", 5));
  }
}

void Server::on_error_reply() {
  in_error_ = true;
  if (copy_ != Copy::None) copy_ended(true);
}

// Requests behind an error were skipped by the server: what they would have changed in its map has not happened.
void Server::forget(Request& request, bool confirmed) {
  if (confirmed || !request.statement) return;
  if (request.type == 'P') {
    statements().remove(*request.statement);
    if (client_ != nullptr && request.answer == Answer::Forward) client_->parse_failed(*request.statement);
  } else if (request.type == 'C') {
    statements().add(request.statement, 0);  // an epoch that is over: prepared, but not to be relied on
    statements().confirm(*request.statement);
  }
}

void Server::drop_until_sync() {
  while (!requests_.empty()) {
    Request request = std::move(requests_.front());
    requests_.pop_front();
    forget(request, request.answer == Answer::Fake);
    if (request.type == 'S' || request.type == 'Q' || request.type == 'F') return;
  }
}

// Syncs that arrive while the server copies in are read and ignored by it (PostgreSQL documentation, "COPY
// Operations").
void Server::copy_ended(bool failed) {
  if (copy_ != Copy::In && copy_ != Copy::Both) {
    copy_ = Copy::None;
    return;
  }
  copy_ = Copy::None;
  const bool simple = !requests_.empty() && requests_.front().type == 'Q';
  const std::size_t first = simple ? 1 : 0;
  std::size_t end = first;
  for (std::size_t i = first; i < requests_.size(); ++i) {
    if (requests_[i].type == 'c' || (failed && requests_[i].type == 'f')) {
      end = i + 1;
      break;
    }
  }
  if (end == first && failed && !simple) end = requests_.size();
  requests_.erase(first, end);
}

void Server::on_ready(char status) {
  if (in_error_) {
    in_error_ = false;
    drop_until_sync();
  } else if (!requests_.empty()) {
    const char type = requests_.front().type;
    if (type == 'S' || type == 'Q' || type == 'F') {
      requests_.pop_front();
    } else {
      drop_until_sync();
    }
  }
  status_ = status;
  copy_ = Copy::None;
  if (schema_changed_ && status == 'I') {
    schema_changed_ = false;
    ++shard_->pool.database.schema_epoch;  // now others see it, too
  }
  if (repeat_due_) {
    repeat_due_ = false;
    client_->repeat_batch();
    return;
  }
  if (!requests_.empty()) return;
  client_->requests_done(status);
  if (state_ == ServerState::Closed || replication_) return;
  const poolcfg::PoolMode mode = shard_->rules.mode;
  if (mode == poolcfg::PoolMode::Session) return;
  if (status == 'I') {
    release_due_ = true;
  } else if (mode == poolcfg::PoolMode::Statement) {
    close_with_client("transaction blocks not allowed in statement pooling mode",
                      {"08P01", "transaction blocks not allowed in statement pooling mode"});
  }
}

void Server::own_query_done() {
  own_query_ = false;
  if (status_ != 'I') {
    close("test query failed");
    return;
  }
  own_query_done_ = true;  // handed out after the walk over this piece of the stream
}

}  // namespace pgvigil::pool
