// The ident map: every line is read or named in a warning.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "poolcfg/hba.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgvigil::poolcfg;
  const IdentMap map = parse_ident(std::string_view(reinterpret_cast<const char*>(data), size), "fuzz_ident.conf");
  for (const auto& line : map.lines) {
    if (!line.map.empty()) PGV_ASSERT(map.permits(line.map, line.system_user, line.database_user));
  }
  return 0;
}
