#include "postgres/slots.h"

#include <algorithm>

namespace pgvigil::postgres {
namespace {

const ReplicationSlot* find(const std::vector<ReplicationSlot>& slots, const std::string& name) {
  const auto found = std::find_if(slots.begin(), slots.end(), [&](const auto& s) { return s.name == name; });
  return found == slots.end() ? nullptr : &*found;
}

}  // namespace

std::string slots_sql() {
  return "SELECT slot_name, slot_type, plugin, database, active, temporary, xmin IS NOT NULL AS has_xmin, restart_lsn,"
         " confirmed_flush_lsn, wal_status FROM pg_replication_slots";
}

std::vector<ReplicationSlot> slots_of(const QueryResult& rows) {
  const auto lsn = [&rows](std::size_t row, const char* column) {
    return parse_lsn(rows.text(row, column)).value_or(Lsn());
  };
  std::vector<ReplicationSlot> slots;
  for (std::size_t i = 0; i < rows.rows.size(); ++i) {
    ReplicationSlot slot;
    slot.name = rows.text(i, "slot_name");
    slot.logical = rows.text(i, "slot_type") == "logical";
    slot.plugin = rows.text(i, "plugin");
    slot.database = rows.text(i, "database");
    slot.active = rows.text(i, "active") == "t";
    slot.temporary = rows.text(i, "temporary") == "t";
    slot.has_xmin = rows.text(i, "has_xmin") == "t";
    slot.restart = lsn(i, "restart_lsn");
    slot.confirmed_flush = lsn(i, "confirmed_flush_lsn");
    slot.wal_status = rows.text(i, "wal_status");
    slots.push_back(std::move(slot));
  }
  return slots;
}

bool is_ignored(const ReplicationSlot& slot, const IgnoreRules& rules) {
  return std::any_of(rules.begin(), rules.end(), [&slot](const auto& rule) {
    if (rule.empty()) return false;
    return std::all_of(rule.begin(), rule.end(), [&slot](const auto& entry) {
      const auto& [key, value] = entry;
      if (key == "name") return slot.name == value;
      if (key == "type") return (slot.logical ? "logical" : "physical") == value;
      if (key == "database") return slot.database == value;
      if (key == "plugin") return slot.plugin == value;
      return true;
    });
  });
}

Task<Result<void>> sync_slots(LocalSession& session, Log log, Postgres::SlotPlan plan, IgnoreRules ignore,
                              TimePoint deadline) {
  std::string list = slots_sql();
  Row none;
  auto answer = co_await session.query(std::move(list), std::move(none), deadline);
  if (!answer) co_return tl::make_unexpected(std::move(answer.error().error));
  const auto slots = slots_of(*answer);
  Result<void> first;
  const auto keep_error = [&first](PgConnection::Failure failure) {
    if (first) first = tl::make_unexpected(std::move(failure.error));
  };
  const auto is_wanted = [&plan](const std::string& name) {
    return std::find(plan.physical.begin(), plan.physical.end(), name) != plan.physical.end();
  };
  std::vector<std::string> dropped;
  for (const auto& slot : slots) {
    if (slot.active || slot.temporary) continue;
    const bool wanted = is_wanted(slot.name);
    const bool surplus = plan.drop_others && !wanted && !is_ignored(slot, ignore);
    // A slot that has lost its WAL, or whose kind is wrong, serves nobody under this name.
    const bool useless = wanted && (slot.logical || slot.wal_status == "lost");
    if (!surplus && !useless) continue;
    std::string sql = "SELECT pg_drop_replication_slot($1)";
    Row parameters{slot.name};
    auto done = co_await session.query(std::move(sql), std::move(parameters), deadline);
    if (!done) {
      keep_error(std::move(done.error()));
    } else {
      log.info("dropped replication slot {}", slot.name);
      dropped.push_back(slot.name);
    }
  }
  for (const auto& name : plan.physical) {
    const bool gone = std::find(dropped.begin(), dropped.end(), name) != dropped.end();
    if (find(slots, name) != nullptr && !gone) continue;
    std::string sql = "SELECT pg_create_physical_replication_slot($1, true)";
    Row parameters{name};
    auto done = co_await session.query(std::move(sql), std::move(parameters), deadline);
    if (!done) {
      keep_error(std::move(done.error()));
    } else {
      log.info("created replication slot {}", name);
    }
  }
  for (const auto& [name, position] : plan.advance) {
    const auto* slot = find(slots, name);
    if (slot == nullptr || slot->active || slot->logical || slot->restart >= position) continue;
    // Not beyond what this server has itself; the server refuses that, and the next pass comes soon enough.
    std::string sql =
        "SELECT pg_replication_slot_advance($1, least($2::pg_lsn, coalesce(pg_last_wal_replay_lsn(), $2::pg_lsn)))";
    Row parameters{name, to_string(position)};
    auto done = co_await session.query(std::move(sql), std::move(parameters), deadline);
    if (!done) keep_error(std::move(done.error()));
  }
  co_return first;
}

}  // namespace pgvigil::postgres
