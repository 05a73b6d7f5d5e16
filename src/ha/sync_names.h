// The value of synchronous_standby_names. PostgreSQL documentation, "Synchronous Replication".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/ids.h"

namespace pgvigil::ha {

struct SyncNames {
  bool quorum = false;            // ANY: as many as `count` of them; else FIRST: the first `count` that are connected
  std::uint32_t count = 0;        // a commit waits for so many; 0: for nobody
  std::vector<MemberName> names;  // sorted
  bool anybody = false;           // "*": whoever connects; names nobody
  friend bool operator==(const SyncNames&, const SyncNames&) = default;
};

// Patroni's spelling, so that a takeover by either changes nothing: `a`, `2 (a,b)`, `ANY 1 (a)`, `*`; names that are no
// plain identifiers in double quotes. In a fixed order: another order of the same names would be a reload.
std::string to_text(const SyncNames& names);
// What PostgreSQL would read. A text that it would refuse gives no names.
SyncNames parse_sync_names(std::string_view text);

}  // namespace pgvigil::ha
