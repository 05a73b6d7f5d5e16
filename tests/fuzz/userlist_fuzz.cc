// The list of users: bounds hold, and what was read, written again with its quotes doubled, is read as the same.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "poolcfg/auth_file.h"

namespace {

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) result += c == '"' ? std::string("\"\"") : std::string(1, c);
  return result + '"';
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgvigil::poolcfg;
  const AuthFile file = parse_auth_file(std::string_view(reinterpret_cast<const char*>(data), size), "fuzz.txt");
  PGV_ASSERT(file.broken.find('\n') == std::string::npos);
  std::string again;
  for (const auto& [user, password] : file.passwords) {
    PGV_ASSERT(user.size() <= 127 && password.reveal().size() <= 65530);
    again += quoted(user) + " " + quoted(password.reveal()) + "\n";
  }
  const AuthFile second = parse_auth_file(again, "again.txt");
  PGV_ASSERT(second.broken.empty() && second.passwords == file.passwords);
  return 0;
}
