// The pooler's ini file: whatever the bytes, an answer; and what SHOW CONFIG prints of a configuration that was read
// can be read again.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "poolcfg/settings.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgvigil::poolcfg;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (text.find("%include") != std::string_view::npos) return 0;  // other files are not this target's business
  const auto config = parse_config(text, "fuzz.ini");
  if (!config) {
    PGV_ASSERT(config.error().message().find('\n') == std::string::npos);
    return 0;
  }
  Settings again;
  for (const auto& row : show_config(config->settings)) {
    if (row.key.find("protocols") != std::string::npos || row.key.find("dheparams") != std::string::npos) continue;
    if (row.key == "auth_dbname") continue;
    PGV_ASSERT(set_setting(again, row.key, row.value).has_value());
  }
  const Settings after = reloaded(again, *config);
  PGV_ASSERT(show_config(after).size() == show_config(again).size());
  if (config->any_database) PGV_ASSERT(!database_from_any(*config->any_database, "db").dbname.empty());
  for (const auto& [name, database] : config->databases) PGV_ASSERT(database.same_connection(database));
  return 0;
}
