// What a pooler says to servers and reads from them: PostgreSQL documentation, "Message Formats".
#include "pgwire/messages.h"

namespace pgvigil::pgwire {

void query(std::string& out, std::string_view sql) { MessageWriter(out, 'Q').cstring(sql); }

// Type `p` is shared by PasswordMessage, SASLInitialResponse and SASLResponse; only the server's last request tells
// them apart.
void password_message(std::string& out, std::string_view text) { MessageWriter(out, 'p').cstring(text); }

void sasl_initial_response(std::string& out, std::string_view mechanism, std::string_view data) {
  MessageWriter(out, 'p').cstring(mechanism).int32(static_cast<std::uint32_t>(data.size())).bytes(data);
}

void sasl_response(std::string& out, std::string_view data) { MessageWriter(out, 'p').bytes(data); }

void parse(std::string& out, std::string_view statement, std::string_view query_and_types) {
  MessageWriter(out, 'P').cstring(statement).bytes(query_and_types);
}

void close_statement(std::string& out, std::string_view statement) {
  MessageWriter(out, 'C').byte('S').cstring(statement);
}

void sync(std::string& out) { MessageWriter(out, 'S'); }

void terminate(std::string& out) { MessageWriter(out, 'X'); }

ErrorFields parse_error_fields(std::string_view body) {
  ErrorFields fields;
  BodyReader reader(body);
  bool untranslated = false;  // V since PostgreSQL 9.6: the severity that lc_messages does not change
  for (;;) {
    const auto letter = static_cast<char>(reader.byte());
    if (letter == 0) return fields;
    const auto text = reader.cstring();
    if (!reader.ok()) return fields;
    switch (letter) {
      case 'V':
        fields.severity = text;
        untranslated = true;
        break;
      case 'S':
        if (!untranslated) fields.severity = text;
        break;
      case 'C': fields.sqlstate = text; break;
      case 'M': fields.message = text; break;
      case 'D': fields.detail = text; break;
      case 'H': fields.hint = text; break;
      default: break;  // "frontends should silently ignore fields of unrecognized type"
    }
  }
}

std::vector<std::string> parse_sasl_mechanisms(std::string_view body_after_code) {
  std::vector<std::string> mechanisms;
  BodyReader reader(body_after_code);
  for (;;) {
    const auto name = reader.cstring();
    if (name.empty()) return mechanisms;
    mechanisms.emplace_back(name);
  }
}

std::optional<std::vector<std::optional<std::string>>> parse_data_row(std::string_view body) {
  constexpr std::uint32_t kNull = 0xFFFFFFFF;
  BodyReader reader(body);
  const std::size_t count = reader.int16();
  // Each value has at least its length: a count that the body cannot hold reserves no memory.
  if (!reader.ok() || count > reader.rest().size() / 4) return std::nullopt;
  std::vector<std::optional<std::string>> values;
  values.reserve(count);
  for (std::size_t i = 0; i < count && reader.ok(); ++i) {
    const auto size = reader.int32();
    if (size == kNull) {
      values.emplace_back();
    } else {
      values.emplace_back(reader.bytes(size));  // a size beyond the body ends ok()
    }
  }
  if (!reader.complete()) return std::nullopt;
  return values;
}

// Documentation, "String Constants with C-Style Escapes": the E form means the same whatever the session's
// standard_conforming_strings is.
std::string quote_literal(std::string_view text) {
  text = text.substr(0, text.find('\0'));  // a query ends there
  std::string quoted;
  quoted.reserve(text.size() + 3);
  if (text.find('\\') != std::string_view::npos) quoted += 'E';
  quoted += '\'';
  for (const char c : text) {
    if (c == '\'' || c == '\\') quoted += c;
    quoted += c;
  }
  return quoted += '\'';
}

}  // namespace pgvigil::pgwire
