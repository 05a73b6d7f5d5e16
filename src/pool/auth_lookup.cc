#include "pool/auth_lookup.h"

#include "pgwire/messages.h"
#include "pool/worker.h"

namespace pgvigil::pool {

AuthLookup::AuthLookup(PoolShard& shard, std::string query, std::string user, Done done)
    : shard_(shard), query_(std::move(query)), user_(std::move(user)), done_(std::move(done)) {}

AuthLookup::~AuthLookup() {
  shard_.withdraw(*this);
  if (server_ == nullptr) return;
  // The client left in the middle: what the server still answers is nobody's.
  Server& server = *server_;
  server.unlink();
  server.close("auth_query abandoned");
}

void AuthLookup::begin() {
  request_started = shard_.worker.now();
  ask();
}

void AuthLookup::ask() {
  std::optional<Refusal> refused;
  Server* server = shard_.take_or_queue(*this, refused);
  if (refused) {
    on_refused(*refused);
  } else if (server != nullptr) {
    on_server(*server);
  }
}

void AuthLookup::on_server(Server& server) {
  server_ = &server;
  server.set_listener(this);
  std::string messages;
  // Unnamed statement and portal, the user's name as text: nothing that it contains is ever SQL.
  pgwire::parse(messages, {}, query_ + std::string("\0\0\0", 3));
  {
    pgwire::MessageWriter bind(messages, 'B');
    bind.cstring({})
        .cstring({})
        .int16(0)
        .int16(1)
        .int32(static_cast<std::uint32_t>(user_.size()))
        .bytes(user_)
        .int16(0);
  }
  { pgwire::MessageWriter(messages, 'D').byte('P').cstring({}); }
  { pgwire::MessageWriter(messages, 'E').cstring({}).int32(0); }
  pgwire::sync(messages);
  for (const char type : {'P', 'B', 'D', 'E', 'S'}) server.requests().push_back({type, Answer::Skip, nullptr});
  server.send(messages);
}

void AuthLookup::on_refused(const Refusal& refusal) { finish(fail(Errc::Unavailable, refusal.message)); }

void AuthLookup::on_server_lost(const Refusal& refusal, bool) {
  server_ = nullptr;
  if (shard_.route != nullptr) {  // it only reads: another leader can be asked
    row_.reset();
    error_.clear();
    ask();
    return;
  }
  finish(fail(Errc::Unavailable, refusal.message));
}

void AuthLookup::on_message(Server& server, char type, std::string_view body) {
  if (type == 'D' && error_.empty()) {
    auto values = pgwire::parse_data_row(body);
    if (!values || values->size() != 2 || !(*values)[0]) {
      error_ = "auth_query has to give two columns, user name and password, and no null name";
    } else if (row_) {
      error_ = "auth_query gave more than one row";
    } else {
      row_ = Row{*(*values)[0], (*values)[1]};
    }
  } else if (type == 'E') {
    error_ = pgwire::parse_error_fields(body).message;
  } else if (type == 'Z') {
    server_ = nullptr;
    server.release_after_this();
    if (error_.empty()) {
      finish(std::move(row_));
    } else {
      finish(fail(Errc::Failed, "auth_query failed", user_, error_));
    }
  }
}

void AuthLookup::finish(Result<std::optional<Row>> result) {
  const Done done = std::move(done_);
  done(std::move(result));
}

}  // namespace pgvigil::pool
