#include "pgwire/frame.h"

namespace pgvigil::pgwire {

std::string_view BodyReader::bytes(std::size_t n) {
  if (n > rest_.size()) {
    ok_ = false;
    rest_ = {};
    return {};
  }
  const auto found = rest_.substr(0, n);
  rest_.remove_prefix(n);
  return found;
}

std::uint8_t BodyReader::byte() {
  const auto found = bytes(1);
  return found.empty() ? 0 : static_cast<std::uint8_t>(found[0]);
}

std::uint16_t BodyReader::int16() {
  const auto found = bytes(2);
  return found.empty() ? 0 : load16(found.data());
}

std::uint32_t BodyReader::int32() {
  const auto found = bytes(4);
  return found.empty() ? 0 : load32(found.data());
}

std::string_view BodyReader::cstring() {
  const auto end = rest_.find('\0');
  if (end == std::string_view::npos) {
    bytes(rest_.size() + 1);  // a text without its end is not there
    return {};
  }
  const auto found = rest_.substr(0, end);
  rest_.remove_prefix(end + 1);
  return found;
}

MessageWriter::MessageWriter(std::string& out, char type) : out_(out), start_(out.size()) {
  out_ += type;
  out_.append(4, '\0');
}

MessageWriter::~MessageWriter() {
  // The length counts itself but not the type byte ("Message Formats").
  store32(out_.data() + start_ + 1, static_cast<std::uint32_t>(out_.size() - start_ - 1));
}

MessageWriter& MessageWriter::byte(std::uint8_t value) {
  out_ += static_cast<char>(value);
  return *this;
}

MessageWriter& MessageWriter::int16(std::uint16_t value) {
  out_ += static_cast<char>(value >> 8);
  out_ += static_cast<char>(value & 0xFF);
  return *this;
}

MessageWriter& MessageWriter::int32(std::uint32_t value) {
  const auto at = out_.size();
  out_.append(4, '\0');
  store32(out_.data() + at, value);
  return *this;
}

MessageWriter& MessageWriter::cstring(std::string_view text) {
  out_ += text.substr(0, text.find('\0'));  // what follows a zero byte would be read as the next field
  out_ += '\0';
  return *this;
}

MessageWriter& MessageWriter::bytes(std::string_view data) {
  out_ += data;
  return *this;
}

}  // namespace pgvigil::pgwire
