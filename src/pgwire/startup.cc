// What a connection begins with: PostgreSQL documentation, "Message Formats", StartupMessage, SSLRequest,
// GSSENCRequest, CancelRequest. These packets have no type byte.
#include <algorithm>

#include "pgwire/messages.h"

namespace pgvigil::pgwire {

namespace {

constexpr std::uint32_t kCancelCode = 80877102, kSslCode = 80877103, kGssCode = 80877104;
constexpr std::uint32_t kProtocol30 = 3U << 16;
constexpr std::uint32_t kUntypedHeaderBytes = 8;  // length and code
// Process id and secret. Protocol 3.2 permits a secret of 256 bytes ("Message Formats", BackendKeyData).
constexpr std::uint32_t kCancelKeyBytesMax = 4 + 256;

std::string hex(std::string_view bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const unsigned char c : bytes) {
    text += kDigits[c >> 4];
    text += kDigits[c & 15];
  }
  return text;
}

Startup parse_parameters(std::uint32_t code, std::string_view body) {
  Startup startup;
  startup.major = static_cast<std::uint16_t>(code >> 16);
  startup.minor = static_cast<std::uint16_t>(code & 0xFFFF);
  BodyReader reader(body);
  for (;;) {
    const auto name = reader.cstring();
    if (name.empty()) break;
    const auto value = reader.cstring();
    if (!reader.ok()) break;
    startup.parameters.emplace_back(name, value);
  }
  // As PostgreSQL has it, the terminator is the last byte: parameters behind it would be ones that nobody checked.
  startup.terminated = reader.complete();
  return startup;
}

std::string untyped(std::uint32_t code, std::string_view body) {
  std::string out(kUntypedHeaderBytes, '\0');
  store32(out.data(), static_cast<std::uint32_t>(kUntypedHeaderBytes + body.size()));
  store32(out.data() + 4, code);
  return out.append(body);
}

bool blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

void skip_blanks(std::string_view& text) {
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
}

// Up to the next blank; a backslash takes the next character's meaning away, as in PostgreSQL's pg_split_opts().
std::string take_word(std::string_view& text) {
  std::string word;
  while (!text.empty() && !blank(text.front())) {
    if (text.front() == '\\') {
      text.remove_prefix(1);
      if (text.empty()) break;
    }
    word += text.front();
    text.remove_prefix(1);
  }
  return word;
}

}  // namespace

StartupPacket parse_startup(std::string_view bytes, std::size_t& consumed) {
  consumed = 0;
  const auto bad = [&] { return BadPacket{hex(bytes.substr(0, 8))}; };
  if (bytes.size() < 4) return NeedMore{};
  const auto length = load32(bytes.data());
  // Refused before its bytes are there: nobody is to wait for, or keep, what will not be read.
  if (length < kUntypedHeaderBytes || length > kStartupBytesMax) return bad();
  if (bytes.size() < kUntypedHeaderBytes) return NeedMore{};

  const auto code = load32(bytes.data() + 4);
  const bool complete = bytes.size() >= length;
  const auto take = [&](auto packet) -> StartupPacket {
    if (!complete) return NeedMore{};
    consumed = length;
    return packet;
  };
  const bool bare = length == kUntypedHeaderBytes;
  if (code == kSslCode) return bare ? take(SslRequest{}) : bad();
  if (code == kGssCode) return bare ? take(GssRequest{}) : bad();
  if (code == kCancelCode) {
    if (length > kUntypedHeaderBytes + kCancelKeyBytesMax) return bad();
    return take(CancelRequest{std::string(bytes.substr(8, length - 8))});
  }
  const auto major = code >> 16;
  if (major == 2) {  // its packet is of fixed size without fields that we know: answered as soon as it is recognised
    consumed = complete ? length : 0;
    return Startup{.major = 2, .minor = 0, .parameters = {}, .terminated = true};
  }
  if (major != 3) return bad();
  if (!complete) return NeedMore{};
  consumed = length;
  return parse_parameters(code, bytes.substr(8, length - 8));
}

std::string startup_message(const std::vector<std::pair<std::string, std::string>>& parameters) {
  std::string body;
  for (const auto& [name, value] : parameters) {
    // An empty name would end the list, and so would a zero byte within a text.
    const auto shown = std::string_view(name).substr(0, name.find('\0'));
    if (shown.empty()) continue;
    body += shown;
    body += '\0';
    body += std::string_view(value).substr(0, value.find('\0'));
    body += '\0';
  }
  body += '\0';
  return untyped(kProtocol30, body);
}

std::string ssl_request() { return untyped(kSslCode, {}); }

std::string cancel_request(std::string_view key) { return untyped(kCancelCode, key); }

std::optional<std::vector<std::pair<std::string, std::string>>> parse_options(std::string_view options) {
  std::vector<std::pair<std::string, std::string>> found;
  for (skip_blanks(options); !options.empty(); skip_blanks(options)) {
    if (options.starts_with("-c")) {
      options.remove_prefix(2);
      skip_blanks(options);
    } else if (options.starts_with("--")) {
      options.remove_prefix(2);
    } else {
      return std::nullopt;
    }
    const auto word = take_word(options);
    const auto equals = word.find('=');
    if (equals == 0 || equals == std::string::npos) return std::nullopt;
    auto name = word.substr(0, equals);
    std::replace(name.begin(), name.end(), '-', '_');  // as PostgreSQL's ParseLongOption() does with either form
    found.emplace_back(std::move(name), word.substr(equals + 1));
  }
  return found;
}

}  // namespace pgvigil::pgwire
