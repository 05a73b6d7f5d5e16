#include "model/ids.h"

#include <algorithm>

namespace pgvigil {

bool is_valid(const SystemId& id) {
  return id.text().size() >= 10 &&
         std::all_of(id.text().begin(), id.text().end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace pgvigil
