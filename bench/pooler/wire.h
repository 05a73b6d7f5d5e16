// The few messages of the frontend/backend protocol that the canned server and the load client speak. Nothing here is
// shared with the pooler: a benchmark must not inherit its mistakes.
#pragma once

#include <arpa/inet.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace bench {

inline void put_int16(std::string& out, uint16_t value) {
  value = htons(value);
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

inline void put_int32(std::string& out, uint32_t value) {
  value = htonl(value);
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

inline uint32_t get_int32(const char* at) {
  uint32_t value = 0;
  std::memcpy(&value, at, sizeof value);
  return ntohl(value);
}

inline std::string message(char type, std::string_view body = {}) {
  std::string out(1, type);
  put_int32(out, static_cast<uint32_t>(body.size() + 4));
  out.append(body);
  return out;
}

inline std::string with_zero(std::string_view text) { return std::string(text) + '\0'; }

inline constexpr uint32_t kProtocol3 = 0x00030000;
inline constexpr uint32_t kSslRequest = 80877103;
inline constexpr uint32_t kGssRequest = 80877104;
inline constexpr uint32_t kCancelRequest = 80877102;
inline constexpr size_t kMegabyte = size_t{1} << 20;
inline constexpr size_t kCopyChunk = 8192;  // bytes of one CopyData message, about what COPY of a table gives

}  // namespace bench
