#include "pool/show.h"

#include <strings.h>

namespace pgvigil::pool {

const ShowTable* find_show(std::string_view name) {
  for (const auto* tables : {&pool_tables(), &client_tables(), &database_tables(), &stats_tables(), &config_tables(),
                             &cluster_tables(), &misc_tables()}) {
    for (const ShowTable& table : *tables) {
      if (table.name.size() == name.size() && strncasecmp(table.name.data(), name.data(), name.size()) == 0) {
        return &table;
      }
    }
  }
  return nullptr;
}

}  // namespace pgvigil::pool
