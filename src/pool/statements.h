// Prepared statements that outlive their server connection. One table for the process holds each text once; a client
// maps its names to entries, a server connection remembers which entries it has prepared.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

namespace pgvigil::pool {

// A statement's identity: its query text and the types of its parameters, byte for byte.
class Statement {
 public:
  Statement(std::uint64_t number, std::string query_and_types);
  [[nodiscard]] std::uint64_t number() const { return number_; }
  [[nodiscard]] const std::string& server_name() const { return server_name_; }
  // The part of the Parse message behind the statement's name.
  [[nodiscard]] const std::string& query_and_types() const { return query_and_types_; }

 private:
  std::uint64_t number_;
  std::string server_name_;  // PGBOUNCER_<number>
  std::string query_and_types_;
};
using StatementPtr = std::shared_ptr<const Statement>;

// From any thread. An entry lives as long as a client or a server connection refers to it.
class StatementTable {
 public:
  StatementPtr intern(std::string_view query_and_types);
  [[nodiscard]] std::size_t size() const;

 private:
  static constexpr std::size_t kShards = 16;
  struct Shard {
    mutable std::mutex mutex;
    std::unordered_map<std::string_view, std::weak_ptr<const Statement>> statements;  // keys point into the entries
  };
  std::array<Shard, kShards> shards_;
  std::atomic<std::uint64_t> next_{1};
};

// The statements of one server connection, oldest use first.
class ServerStatements {
 public:
  [[nodiscard]] bool has(const Statement& statement) const { return entries_.count(&statement) != 0; }
  // The server has said that it has prepared it, and no change of the schema has been seen since (`epoch`).
  [[nodiscard]] bool sure(const Statement& statement, std::uint64_t epoch) const;
  void use(const Statement& statement);                   // moves it to the young end
  void add(StatementPtr statement, std::uint64_t epoch);  // its Parse is on the way
  void confirm(const Statement& statement);
  StatementPtr remove(const Statement& statement);
  // The one to close when there are more than `limit`; it is removed.
  StatementPtr evict(std::size_t limit);
  void clear();
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    StatementPtr statement;
    std::uint64_t epoch;
    bool confirmed;
  };
  std::list<Entry> order_;  // young at the back
  std::unordered_map<const Statement*, std::list<Entry>::iterator> entries_;
};

}  // namespace pgvigil::pool
