// RFC 4648 section 4, in the one form that encoding gives: padded, without blanks, unused bits zero. So two texts that
// differ never stand for the same bytes.
#include <array>
#include <cstdint>

#include "pgwire/password.h"

namespace pgvigil::pgwire {

namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint32_t kNone = 64;

std::uint32_t value_of(char c) {
  const auto at = kAlphabet.find(c);
  return at == std::string_view::npos ? kNone : static_cast<std::uint32_t>(at);
}

}  // namespace

std::string base64(std::string_view data) {
  std::string text;
  text.reserve((data.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < data.size(); i += 3) {
    const auto byte = [&](std::size_t k) {
      return i + k < data.size() ? std::uint32_t{static_cast<unsigned char>(data[i + k])} : 0;
    };
    const auto group = byte(0) << 16 | byte(1) << 8 | byte(2);
    text += kAlphabet[group >> 18];
    text += kAlphabet[group >> 12 & 63];
    text += i + 1 < data.size() ? kAlphabet[group >> 6 & 63] : '=';
    text += i + 2 < data.size() ? kAlphabet[group & 63] : '=';
  }
  return text;
}

std::optional<std::string> base64_decode(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::string data;
  data.reserve(text.size() / 4 * 3);
  for (std::size_t i = 0; i < text.size(); i += 4) {
    const bool last = i + 4 == text.size();
    const std::size_t padding = !last || text[i + 3] != '=' ? 0 : text[i + 2] != '=' ? 1 : 2;
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      const auto value = k >= 4 - padding ? 0 : value_of(text[i + k]);
      if (value == kNone) return std::nullopt;
      group = group << 6 | value;
    }
    if ((padding == 1 && (group & 0xFF) != 0) || (padding == 2 && (group & 0xFFFF) != 0)) return std::nullopt;
    data += static_cast<char>(group >> 16);
    if (padding < 2) data += static_cast<char>(group >> 8 & 0xFF);
    if (padding < 1) data += static_cast<char>(group & 0xFF);
  }
  return data;
}

}  // namespace pgvigil::pgwire
