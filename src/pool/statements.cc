#include "pool/statements.h"

#include <fmt/format.h>

#include <functional>
#include <utility>

namespace pgvigil::pool {

Statement::Statement(std::uint64_t number, std::string query_and_types)
    : number_(number),
      server_name_(fmt::format("PGBOUNCER_{}", number)),
      query_and_types_(std::move(query_and_types)) {}

StatementPtr StatementTable::intern(std::string_view query_and_types) {
  Shard& shard = shards_.at(std::hash<std::string_view>{}(query_and_types) % kShards);
  const std::lock_guard lock(shard.mutex);
  const auto known = shard.statements.find(query_and_types);
  if (known != shard.statements.end()) {
    if (auto present = known->second.lock()) return present;
    shard.statements.erase(known);  // its last user is just leaving, and finds the entry gone
  }
  const auto forget = [&shard](const Statement* statement) {
    {
      const std::lock_guard guard(shard.mutex);
      const auto entry = shard.statements.find(statement->query_and_types());
      if (entry != shard.statements.end() && entry->second.expired()) shard.statements.erase(entry);
    }
    delete statement;
  };
  StatementPtr made(new Statement(next_.fetch_add(1), std::string(query_and_types)), forget);
  shard.statements.emplace(made->query_and_types(), made);
  return made;
}

std::size_t StatementTable::size() const {
  std::size_t total = 0;
  for (const Shard& shard : shards_) {
    const std::lock_guard lock(shard.mutex);
    total += shard.statements.size();
  }
  return total;
}

const StatementPtr& SeenTexts::recall(std::string_view query_and_types, StatementTable& table) {
  static const StatementPtr kNone;
  if (places_.empty()) places_.resize(kPlaces);
  const std::size_t hash = std::hash<std::string_view>{}(query_and_types);
  Place& place = places_[hash % kPlaces];
  if (place.hash != hash) {
    place = {hash, nullptr};
    return kNone;
  }
  if (place.statement != nullptr && place.statement->query_and_types() == query_and_types) return place.statement;
  StatementPtr& kept = query_and_types.size() <= kKeepBytesMax ? place.statement : large_;
  kept = table.intern(query_and_types);
  return kept;
}

bool ServerStatements::use_if_there(const Statement& statement) {
  const auto entry = entries_.find(&statement);
  if (entry == entries_.end()) return false;
  use(entry->second);
  return true;
}

bool ServerStatements::use_if_sure(const Statement& statement, std::uint64_t epoch) {
  const auto entry = entries_.find(&statement);
  if (entry == entries_.end() || !entry->second->confirmed || entry->second->epoch != epoch) return false;
  use(entry->second);
  return true;
}

void ServerStatements::add(StatementPtr statement, std::uint64_t epoch) {
  remove(*statement);
  const Statement* key = statement.get();
  order_.push_back({std::move(statement), epoch, false});
  entries_.emplace(key, std::prev(order_.end()));
}

void ServerStatements::confirm(const Statement& statement) {
  const auto entry = entries_.find(&statement);
  if (entry != entries_.end()) entry->second->confirmed = true;
}

StatementPtr ServerStatements::remove(const Statement& statement) {
  const auto entry = entries_.find(&statement);
  if (entry == entries_.end()) return nullptr;
  StatementPtr removed = std::move(entry->second->statement);
  order_.erase(entry->second);
  entries_.erase(entry);
  return removed;
}

StatementPtr ServerStatements::evict(std::size_t limit) {
  if (order_.size() <= limit) return nullptr;
  return remove(*order_.front().statement);
}

void ServerStatements::clear() {
  order_.clear();
  entries_.clear();
}

}  // namespace pgvigil::pool
