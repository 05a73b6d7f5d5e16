#include "model/slot_name.h"

#include <cstdint>

namespace pgvigil {
namespace {

constexpr std::size_t kNameMax = 63;  // NAMEDATALEN - 1

// The code point that starts at `at`, which is moved behind it. Bytes that are no UTF-8 count as themselves.
std::uint32_t next_code_point(const std::string& text, std::size_t& at) {
  const auto byte = [&text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(at);
  std::size_t length = first < 0x80 ? 1 : first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1;
  if (at + length > text.size()) length = 1;
  std::uint32_t point = length == 1 ? first : first & (0xFFU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) point = point << 6 | (byte(at + i) & 0x3FU);
  at += length;
  return point;
}

}  // namespace

std::string slot_name_of(const MemberName& member) {
  std::string slot;
  for (std::size_t at = 0; at < member.text().size();) {
    const std::uint32_t point = next_code_point(member.text(), at);
    if (point >= 'A' && point <= 'Z') {
      slot += static_cast<char>(point - 'A' + 'a');
    } else if ((point >= 'a' && point <= 'z') || (point >= '0' && point <= '9') || point == '_') {
      slot += static_cast<char>(point);
    } else if (point == '-' || point == '.') {
      slot += '_';
    } else {
      std::string digits = std::to_string(point);
      if (digits.size() < 4) digits.insert(0, 4 - digits.size(), '0');
      slot += 'u' + digits;
    }
  }
  if (slot.size() > kNameMax) slot.resize(kNameMax);
  return slot;
}

}  // namespace pgvigil
