// Prepared statements that outlive their server connection. One table for the process holds each text once; a client
// maps its names to entries, a server connection remembers which entries it has prepared.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

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

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};
// A client's own names for statements.
using NamedStatements = std::unordered_map<std::string, StatementPtr, TextHash, std::equal_to<>>;

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

// Texts of unnamed statements that one worker saw lately. A text that comes for the first time may well never come
// again: only one that comes back is worth an entry.
class SeenTexts {
 public:
  // The entry of a text that was seen before; nothing the first time. The reference is good until the next call.
  const StatementPtr& recall(std::string_view query_and_types, StatementTable& table);

 private:
  static constexpr std::size_t kPlaces = 4096;
  static constexpr std::size_t kKeepBytesMax = 2048;  // longer ones are looked up in the table each time
  struct Place {
    std::size_t hash = 0;
    StatementPtr statement;
  };
  std::vector<Place> places_;
  StatementPtr large_;
};

// The statements of one server connection, oldest use first.
class ServerStatements {
 public:
  [[nodiscard]] bool has(const Statement& statement) const { return entries_.count(&statement) != 0; }
  bool use_if_there(const Statement& statement);  // moves it to the young end
  // The server has said that it has prepared it, and no change of the schema has been seen since (`epoch`).
  bool use_if_sure(const Statement& statement, std::uint64_t epoch);
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
  void use(std::list<Entry>::iterator entry) {
    if (std::next(entry) != order_.end()) order_.splice(order_.end(), order_, entry);
  }
  std::list<Entry> order_;  // young at the back
  std::unordered_map<const Statement*, std::list<Entry>::iterator> entries_;
};

}  // namespace pgvigil::pool
