// The messages that a pooler makes itself, and those it has to read.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "pgwire/frame.h"

namespace pgvigil::pgwire {

// --- before startup (untyped packets: Int32 length that counts itself, Int32 code)
struct NeedMore {};
struct SslRequest {};
struct GssRequest {};
struct CancelRequest {
  std::string key;
};  // 8 bytes with protocol 3.0; up to 256 with 3.2
struct Startup {
  std::uint16_t major = 3, minor = 0;
  std::vector<std::pair<std::string, std::string>> parameters;  // in order, names as written
  bool terminated = true;  // false: the zero byte after the last parameter is missing
};
struct BadPacket {
  std::string hex;
};  // of its first 8 bytes at most, for the log
using StartupPacket = std::variant<NeedMore, SslRequest, GssRequest, CancelRequest, Startup, BadPacket>;

inline constexpr std::uint32_t kStartupBytesMax = 65535;

// `consumed`: the packet's length when it is complete, else 0. Protocol 2 gives Startup{2, 0}; a code that is neither a
// request nor a version from 2 to 3, or a length below 8 or above kStartupBytesMax, gives BadPacket.
StartupPacket parse_startup(std::string_view bytes, std::size_t& consumed);

std::string startup_message(const std::vector<std::pair<std::string, std::string>>& parameters);  // 3.0
std::string ssl_request();
std::string cancel_request(std::string_view key);  // 8 bytes

// --- `options` of a startup packet: a sequence of `-c name=value` and `--name=value`, with backslash escapes.
// Nothing when it holds any other syntax.
std::optional<std::vector<std::pair<std::string, std::string>>> parse_options(std::string_view options);

// --- what a pooler says to clients (appended to `out`)
void error_response(std::string& out, std::string_view severity, std::string_view sqlstate, std::string_view message);
void notice_response(std::string& out, std::string_view severity, std::string_view sqlstate, std::string_view message,
                     std::string_view detail = {});
void authentication_ok(std::string& out);
void authentication_cleartext(std::string& out);
void authentication_md5(std::string& out, std::string_view salt);  // 4 bytes
void authentication_sasl(std::string& out, const std::vector<std::string_view>& mechanisms);
void authentication_sasl_continue(std::string& out, std::string_view data);
void authentication_sasl_final(std::string& out, std::string_view data);
void parameter_status(std::string& out, std::string_view name, std::string_view value);
void backend_key_data(std::string& out, std::string_view key);  // 8 bytes: process id and secret
void ready_for_query(std::string& out, char status);
void command_complete(std::string& out, std::string_view tag);
void negotiate_protocol_version(std::string& out, std::uint32_t newest_minor, const std::vector<std::string>& unknown);
struct ColumnType {
  std::uint32_t oid;
  std::int16_t size;
};
inline constexpr ColumnType kText{25, -1}, kInt4{23, 4}, kInt8{20, 8}, kNumeric{1700, -1}, kBytea{17, -1};
struct Column {
  std::string_view name;
  ColumnType type;
};
void row_description(std::string& out, const std::vector<Column>& columns);  // text format, no table
void data_row(std::string& out, const std::vector<std::optional<std::string>>& values);

// --- what a pooler says to servers
void query(std::string& out, std::string_view sql);
void password_message(std::string& out, std::string_view text);
void sasl_initial_response(std::string& out, std::string_view mechanism, std::string_view data);
void sasl_response(std::string& out, std::string_view data);
void parse(std::string& out, std::string_view statement, std::string_view query_and_types);  // the rest as received
void close_statement(std::string& out, std::string_view statement);
void sync(std::string& out);
void terminate(std::string& out);

// --- what it reads from servers
struct ErrorFields {
  std::string severity, sqlstate, message, detail, hint;
};
ErrorFields parse_error_fields(
    std::string_view body);  // of ErrorResponse and NoticeResponse; unknown fields are skipped
std::vector<std::string> parse_sasl_mechanisms(std::string_view body_after_code);
// The values of a DataRow; nothing when it is malformed.
std::optional<std::vector<std::optional<std::string>>> parse_data_row(std::string_view body);

// 'it''s', or E'a\\b' when there is a backslash.
std::string quote_literal(std::string_view text);

}  // namespace pgvigil::pgwire
