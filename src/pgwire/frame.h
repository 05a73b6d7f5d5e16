// Frames of the frontend/backend protocol, version 3. Source of every fact here: PostgreSQL documentation, chapter
// "Frontend/Backend Protocol", sections "Message Flow" and "Message Formats". Bytes in, values out; nobody is called.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pgvigil::pgwire {

inline constexpr std::size_t kHeaderBytes = 5;  // type byte and Int32 length, which counts itself but not the type

inline std::uint16_t load16(const char* p) {
  const auto* b = reinterpret_cast<const unsigned char*>(p);
  return static_cast<std::uint16_t>(b[0] << 8 | b[1]);
}
inline std::uint32_t load32(const char* p) {
  const auto* b = reinterpret_cast<const unsigned char*>(p);
  return std::uint32_t{b[0]} << 24 | std::uint32_t{b[1]} << 16 | std::uint32_t{b[2]} << 8 | b[3];
}
inline void store32(char* p, std::uint32_t value) {
  for (int i = 3; i >= 0; --i, value >>= 8) p[i] = static_cast<char>(value & 0xFF);
}

// Reads the fields of one message's body. After the first field that is not there, ok() is false and everything reads
// as zero or empty.
class BodyReader {
 public:
  explicit BodyReader(std::string_view body) : rest_(body) {}
  std::uint8_t byte();
  std::uint16_t int16();
  std::uint32_t int32();
  std::string_view cstring();  // without its zero byte
  std::string_view bytes(std::size_t n);
  [[nodiscard]] std::string_view rest() const { return rest_; }
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool complete() const { return ok_ && rest_.empty(); }  // everything was read, and no more was there

 private:
  std::string_view rest_;
  bool ok_ = true;
};

// Appends one message to a string: type, length, fields.
class MessageWriter {
 public:
  MessageWriter(std::string& out, char type);
  ~MessageWriter();  // fills the length in
  MessageWriter(const MessageWriter&) = delete;
  MessageWriter& operator=(const MessageWriter&) = delete;
  MessageWriter& byte(std::uint8_t value);
  MessageWriter& int16(std::uint16_t value);
  MessageWriter& int32(std::uint32_t value);
  MessageWriter& cstring(std::string_view text);  // adds the zero byte; an embedded zero ends the text
  MessageWriter& bytes(std::string_view data);

 private:
  std::string& out_;
  std::size_t start_;
};

}  // namespace pgvigil::pgwire
