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

void ServerStatements::use(const Statement& statement) {
  const auto entry = entries_.find(&statement);
  if (entry != entries_.end()) order_.splice(order_.end(), order_, entry->second);
}

bool ServerStatements::sure(const Statement& statement, std::uint64_t epoch) const {
  const auto entry = entries_.find(&statement);
  return entry != entries_.end() && entry->second->confirmed && entry->second->epoch == epoch;
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
