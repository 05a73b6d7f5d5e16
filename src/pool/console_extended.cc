// The extended query protocol of the console: a command is a statement without parameters.
#include "pgwire/messages.h"
#include "pool/console_session.h"

namespace pgvigil::pool {

void ConsoleSession::extended(char type, std::string_view body) {
  if (type == 'S') {
    skipping_ = false;
    portals_.clear();  // they end with the transaction, which Sync ends
    pgwire::ready_for_query(output_, 'I');
    return;
  }
  if (skipping_ || type == 'H') return;
  const pgwire::BodyReader reader(body);
  switch (type) {
    case 'P': return parse(reader);
    case 'B': return bind(reader);
    case 'D': return describe(reader);
    case 'E': return execute(reader);
    default: return close_object(reader);
  }
}

void ConsoleSession::skip_until_sync(std::string_view message) {
  skipping_ = true;
  pgwire::error_response(output_, "ERROR", "08P01", message);
}

void ConsoleSession::parse(pgwire::BodyReader body) {
  const auto name = body.cstring();
  const auto text = body.cstring();
  const std::uint16_t types = body.int16();
  for (std::uint16_t i = 0; i < types && body.ok(); ++i) static_cast<void>(body.int32());
  if (!body.complete()) return skip_until_sync("broken Parse packet");
  if (!name.empty() && statements_.count(name) != 0) {
    return skip_until_sync("prepared statement name is already in use");
  }
  if (statements_.size() >= kObjectsMax && statements_.count(name) == 0) {
    return skip_until_sync("too many prepared statements: close some");
  }
  statements_.insert_or_assign(std::string(name), Statement{std::string(text), parse_console_command(text)});
  pgwire::MessageWriter(output_, '1');
}

void ConsoleSession::bind(pgwire::BodyReader body) {
  const auto portal = body.cstring();
  const auto name = body.cstring();
  const std::uint16_t parameter_formats = body.int16();
  for (std::uint16_t i = 0; i < parameter_formats && body.ok(); ++i) static_cast<void>(body.int16());
  if (body.ok() && body.int16() != 0) return skip_until_sync("commands of the admin console have no parameters");
  std::vector<std::int16_t> formats(body.ok() ? body.int16() : 0);
  for (auto& format : formats) format = static_cast<std::int16_t>(body.int16());
  if (!body.complete()) return skip_until_sync("broken Bind packet");
  const auto statement = statements_.find(name);
  if (statement == statements_.end()) return skip_until_sync("prepared statement did not exist");
  const Columns* columns = host_.columns_of(statement->second.command);
  Formats result(std::move(formats));
  if (columns != nullptr && !result.fit(columns->size())) return skip_until_sync("broken Bind packet");
  if (portals_.size() >= kObjectsMax && portals_.count(portal) == 0) return skip_until_sync("too many portals");
  portals_.insert_or_assign(std::string(portal), Portal{statement->second, std::move(result), false, {}, 0});
  pgwire::MessageWriter(output_, '2');
}

void ConsoleSession::describe(pgwire::BodyReader body) {
  const char kind = static_cast<char>(body.byte());
  const auto name = body.cstring();
  if (!body.complete() || (kind != 'S' && kind != 'P')) return skip_until_sync("broken Describe packet");
  const Columns* columns = nullptr;
  Formats formats;
  if (kind == 'S') {
    const auto statement = statements_.find(name);
    if (statement == statements_.end()) return skip_until_sync("prepared statement did not exist");
    columns = host_.columns_of(statement->second.command);
    pgwire::MessageWriter(output_, 't').int16(0);
  } else {
    const auto portal = portals_.find(name);
    if (portal == portals_.end()) return skip_until_sync("portal did not exist");
    columns = host_.columns_of(portal->second.statement.command);
    formats = portal->second.formats;
  }
  if (columns == nullptr) {
    pgwire::MessageWriter(output_, 'n');
  } else {
    put_row_description(output_, *columns, formats);
  }
}

void ConsoleSession::execute(pgwire::BodyReader body) {
  const std::string name(body.cstring());
  const std::uint32_t limit = body.int32();
  if (!body.complete()) return skip_until_sync("broken Execute packet");
  const auto found = portals_.find(name);
  if (found == portals_.end()) return skip_until_sync("portal did not exist");
  if (found->second.run) return send_portal(found->second, limit);
  found->second.run = true;
  run(found->second.statement, [name, limit](ConsoleSession& session, ConsoleReply reply) {
    const auto portal = session.portals_.find(name);
    if (portal == session.portals_.end()) return;
    portal->second.reply = std::move(reply);
    session.send_portal(portal->second, limit);
  });
}

// Rows from where the last Execute stopped.
void ConsoleSession::send_portal(Portal& portal, std::uint32_t limit) {
  const ConsoleReply& reply = portal.reply;
  if (reply.error) {
    skipping_ = true;
    return pgwire::error_response(output_, "ERROR", reply.error->sqlstate, reply.error->message);
  }
  if (portal.sent == 0) notices(reply);
  if (reply.columns != nullptr) {
    for (std::uint32_t n = 0; portal.sent < reply.rows.size() && (limit == 0 || n < limit); ++n) {
      put_row(output_, *reply.columns, reply.rows[portal.sent++], portal.formats);
    }
    if (portal.sent < reply.rows.size()) {
      pgwire::MessageWriter(output_, 's');  // PortalSuspended
      return;
    }
  }
  pgwire::command_complete(output_, reply.tag);
}

void ConsoleSession::close_object(pgwire::BodyReader body) {
  const char kind = static_cast<char>(body.byte());
  const auto name = body.cstring();
  if (!body.complete() || (kind != 'S' && kind != 'P')) return skip_until_sync("broken Close packet");
  if (kind == 'S') {
    if (const auto found = statements_.find(name); found != statements_.end()) statements_.erase(found);
  } else if (const auto found = portals_.find(name); found != portals_.end()) {
    portals_.erase(found);
  }
  pgwire::MessageWriter(output_, '3');
}

}  // namespace pgvigil::pool
