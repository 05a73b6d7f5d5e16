// Replication slots of the local server. PostgreSQL documentation, "Replication Management Functions".
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/log.h"
#include "postgres/local_session.h"
#include "postgres/port.h"

namespace pgvigil::postgres {

// All slots of a server: the SQL as one statement of a batch, and how to read its rows.
std::string slots_sql();
std::vector<ReplicationSlot> slots_of(const QueryResult& rows);

using IgnoreRules = std::vector<std::map<std::string, std::string>>;  // entries of ignore_slots

// A slot that somebody else owns: one rule of ignore_slots names it with all its given attributes (name, type,
// database, plugin).
bool is_ignored(const ReplicationSlot& slot, const IgnoreRules& rules);

// Makes the slots what `plan` says, as far as possible: one slot that fails does not keep the others back; the error is
// then the first one. A slot in use is never dropped.
Task<Result<void>> sync_slots(LocalSession& session, Log log, Postgres::SlotPlan plan, IgnoreRules ignore,
                              TimePoint deadline);

}  // namespace pgvigil::postgres
