// What a pooler says to its clients: PostgreSQL documentation, "Message Formats", the messages marked (B).
#include "pgwire/messages.h"

namespace pgvigil::pgwire {

namespace {

enum class Auth : std::uint8_t { Ok = 0, Cleartext = 3, Md5 = 5, Sasl = 10, SaslContinue = 11, SaslFinal = 12 };

void authentication(std::string& out, Auth code, std::string_view data = {}) {
  MessageWriter(out, 'R').int32(static_cast<std::uint32_t>(code)).bytes(data);
}

// The fields' letters: documentation, "Error and Notice Message Fields". PgBouncer's messages have no V, and clients
// of old protocols know no other way either, so S alone says the severity.
void fields(std::string& out, char type, std::string_view severity, std::string_view sqlstate, std::string_view message,
            std::string_view detail) {
  MessageWriter writer(out, type);
  writer.byte('S').cstring(severity).byte('C').cstring(sqlstate).byte('M').cstring(message);
  if (!detail.empty()) writer.byte('D').cstring(detail);
  writer.byte(0);
}

}  // namespace

void error_response(std::string& out, std::string_view severity, std::string_view sqlstate, std::string_view message) {
  fields(out, 'E', severity, sqlstate, message, {});
}

void notice_response(std::string& out, std::string_view severity, std::string_view sqlstate, std::string_view message,
                     std::string_view detail) {
  fields(out, 'N', severity, sqlstate, message, detail);
}

void authentication_ok(std::string& out) { authentication(out, Auth::Ok); }
void authentication_cleartext(std::string& out) { authentication(out, Auth::Cleartext); }
void authentication_md5(std::string& out, std::string_view salt) { authentication(out, Auth::Md5, salt); }

void authentication_sasl(std::string& out, const std::vector<std::string_view>& mechanisms) {
  MessageWriter writer(out, 'R');
  writer.int32(static_cast<std::uint32_t>(Auth::Sasl));
  for (const auto mechanism : mechanisms) writer.cstring(mechanism);
  writer.byte(0);
}

void authentication_sasl_continue(std::string& out, std::string_view data) {
  authentication(out, Auth::SaslContinue, data);
}
void authentication_sasl_final(std::string& out, std::string_view data) { authentication(out, Auth::SaslFinal, data); }

void parameter_status(std::string& out, std::string_view name, std::string_view value) {
  MessageWriter(out, 'S').cstring(name).cstring(value);
}

void backend_key_data(std::string& out, std::string_view key) { MessageWriter(out, 'K').bytes(key); }

void ready_for_query(std::string& out, char status) { MessageWriter(out, 'Z').byte(static_cast<std::uint8_t>(status)); }

void command_complete(std::string& out, std::string_view tag) { MessageWriter(out, 'C').cstring(tag); }

void negotiate_protocol_version(std::string& out, std::uint32_t newest_minor, const std::vector<std::string>& unknown) {
  MessageWriter writer(out, 'v');
  // The documentation says "newest minor protocol version", but servers send the major version with it, and libpq 18
  // takes anything below 3.0 for a broken message.
  writer.int32(3U << 16 | newest_minor).int32(static_cast<std::uint32_t>(unknown.size()));
  for (const auto& option : unknown) writer.cstring(option);
}

void row_description(std::string& out, const std::vector<Column>& columns) {
  MessageWriter writer(out, 'T');
  writer.int16(static_cast<std::uint16_t>(columns.size()));
  for (const auto& [name, type] : columns) {
    writer.cstring(name).int32(0).int16(0);  // of no table
    writer.int32(type.oid).int16(static_cast<std::uint16_t>(type.size));
    writer.int32(0xFFFFFFFF).int16(0);  // no type modifier; text
  }
}

void data_row(std::string& out, const std::vector<std::optional<std::string>>& values) {
  MessageWriter writer(out, 'D');
  writer.int16(static_cast<std::uint16_t>(values.size()));
  for (const auto& value : values) {
    if (value) {
      writer.int32(static_cast<std::uint32_t>(value->size())).bytes(*value);
    } else {
      writer.int32(0xFFFFFFFF);  // NULL
    }
  }
}

}  // namespace pgvigil::pgwire
