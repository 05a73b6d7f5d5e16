// What all workers share: databases, users, pools, and the counts behind every limit. Looking something up takes the
// catalog's mutex; that happens at login, when a connection is opened and in the console, never for a query.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "base/time.h"
#include "model/lsn.h"
#include "pgwire/password.h"
#include "pool/running_config.h"
#include "pool/session_parameters.h"

namespace pgvigil::pool {

class PoolShard;

// One unit of a limit: taken before the work starts, given back exactly once.
class LimitSlot {
 public:
  LimitSlot() = default;
  LimitSlot(LimitSlot&& other) noexcept : used_(std::exchange(other.used_, nullptr)) {}
  LimitSlot& operator=(LimitSlot&& other) noexcept {
    give_back();
    used_ = std::exchange(other.used_, nullptr);
    return *this;
  }
  ~LimitSlot() { give_back(); }
  // `limit` <= 0: unlimited, counted all the same.
  static std::optional<LimitSlot> try_take(std::atomic<int>& used, int limit);
  // Gives it back only while more than `least` are taken: of two threads that both see one too many, one closes it.
  bool give_back_above(int least);
  void give_back() {
    if (used_ != nullptr) used_->fetch_sub(1);
    used_ = nullptr;
  }

 private:
  explicit LimitSlot(std::atomic<int>& used) : used_(&used) {}
  std::atomic<int>* used_ = nullptr;
};

class Database {
 public:
  Database(std::string name, std::shared_ptr<const poolcfg::DatabaseEntry> entry, bool automatic)
      : name_(std::move(name)), automatic_(automatic), entry_(std::move(entry)) {}
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] bool automatic() const { return automatic_; }
  [[nodiscard]] std::shared_ptr<const poolcfg::DatabaseEntry> entry() const {
    const std::lock_guard lock(mutex_);
    return entry_;
  }
  void set_entry(std::shared_ptr<const poolcfg::DatabaseEntry> entry) {
    const std::lock_guard lock(mutex_);
    entry_ = std::move(entry);
  }

  std::atomic<bool> paused{false}, disabled{false};
  std::atomic<bool> removed{false};  // its line is gone from the file: nobody logs in any more
  std::atomic<int> clients{0}, servers{0};
  // Counts the changes of the schema that came by, so that what was prepared before one is prepared anew.
  std::atomic<std::uint64_t> schema_epoch{1};

 private:
  std::string name_;
  bool automatic_;
  mutable std::mutex mutex_;
  std::shared_ptr<const poolcfg::DatabaseEntry> entry_;
};

// How far a replica has to have replayed so that a read sees the commits of a user: learned from the leader in this
// reign, after that many of them.
struct ReplayGoal {
  std::uint64_t commits = 0;
  Lsn lsn;
  std::uint64_t reign = 0;
};

class User {
 public:
  explicit User(std::string name) : name_(std::move(name)) {}
  [[nodiscard]] const std::string& name() const { return name_; }
  std::atomic<int> clients{0}, servers{0};

  // Transactions on the leader of clients with causal_reads=on.
  std::atomic<std::uint64_t> commits{0};
  [[nodiscard]] ReplayGoal replay_goal();
  void learn_goal(const ReplayGoal& goal);

  // The SCRAM secret made for a password that is stored in clear, made once (it costs thousands of hashes).
  pgwire::ScramSecret ad_hoc_secret(const std::string& password, std::uint32_t iterations);

 private:
  std::string name_;
  std::mutex mutex_;
  ReplayGoal goal_;
  std::string ad_hoc_for_;
  std::optional<pgwire::ScramSecret> ad_hoc_;
};

// What a client is told at login, recorded from the pool's first server connection.
struct Welcome {
  std::string untracked;       // ParameterStatus messages, ready to send
  ParameterSetPtr parameters;  // the tracked ones
};
using WelcomePtr = std::shared_ptr<const Welcome>;

// How the last attempts to open a server connection of a pool went.
struct ConnectHistory {
  TimePoint last_started;
  bool last_failed = false;   // connect or login
  bool login_failed = false;  // what new queries are refused with, at once, while no server is connected
  unsigned failures = 0;      // since the last success
  std::string reason;         // "connect failed", or the server's text
};

// What a client has proven, so that the pooler can log in as it.
struct LoginSecrets {
  std::optional<std::string> password;  // stored or typed
  std::optional<pgwire::ScramKeys> keys;
};

// (database, server-side user, role where it is not the database's own). Connections are opened, counted and limited
// here; each worker has a shard of its own.
class Pool {
 public:
  // `role`: in place of the database's own.
  Pool(Database& database, User& user, bool forced_user, std::optional<poolcfg::ServerRole> role, std::size_t workers);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  Database& database;
  User& user;
  const bool forced_user;
  const std::optional<poolcfg::ServerRole> role;
  const std::string label;  // how SHOW POOLS calls its database

  std::atomic<int> servers{0};     // in any state, of all workers
  std::atomic<int> connected{0};   // of these, past login
  std::atomic<int> connecting{0};  // attempts under way
  // Server connections opened under an earlier generation are closed as soon as nobody uses them (RECONNECT).
  std::atomic<std::uint64_t> generation{1};
  std::atomic<unsigned> next_host{0};
  std::atomic<int> waiting_shards{0};  // workers with a client in the queue
  std::atomic<bool> failing{false};    // the last attempt to connect failed
  std::atomic<bool> has_welcome{false};
  std::atomic<bool> socket_refused{false};  // the members' Unix sockets do not let this user in: TCP it is

  [[nodiscard]] WelcomePtr welcome() const;
  void set_welcome(WelcomePtr welcome, std::uint64_t of_generation);
  void forget_welcome() { set_welcome(nullptr, generation); }
  [[nodiscard]] ConnectHistory history() const;
  void connect_started(TimePoint now);
  void connect_ended(bool failed, bool at_login, std::string reason);
  void forget_failures();  // they were of another server
  [[nodiscard]] LoginSecrets secrets() const;
  void remember(const LoginSecrets& secrets);

  [[nodiscard]] PoolShard* shard(std::size_t worker) const { return shards_[worker].load(std::memory_order_acquire); }
  void set_shard(std::size_t worker, PoolShard* shard) { shards_[worker].store(shard, std::memory_order_release); }
  [[nodiscard]] std::size_t workers() const { return shards_.size(); }

 private:
  mutable std::mutex mutex_;
  WelcomePtr welcome_;
  ConnectHistory history_;
  LoginSecrets secrets_;
  std::vector<std::atomic<PoolShard*>> shards_;
};

class Catalog {
 public:
  Catalog(RunningConfigPtr config, std::size_t workers);
  ~Catalog();

  // Null: there is no such database. Makes an automatic one of "*" on first use.
  Database* database(std::string_view name);
  User& user(std::string_view name);  // made on first use
  Pool& pool(Database& database, User& user, bool forced_user, std::optional<poolcfg::ServerRole> role = std::nullopt);

  // Told when "*" has made a database, under the catalog's mutex. Set before the workers run.
  std::function<void(const std::string& name)> on_automatic;

  // After a reload. The result: pools whose server connections have to be opened anew.
  void adopt(RunningConfigPtr config);

  // For the console and the housekeeping: under the catalog's mutex, in order of name.
  [[nodiscard]] std::vector<Database*> databases() const;
  [[nodiscard]] std::vector<User*> users() const;
  [[nodiscard]] std::vector<Pool*> pools() const;
  [[nodiscard]] std::vector<Pool*> pools_of(const Database& database) const;
  [[nodiscard]] std::vector<Pool*> pools_of(const User& user) const;

 private:
  mutable std::mutex mutex_;
  RunningConfigPtr config_;
  std::size_t workers_;
  // Databases, users and pools stay for the life of the process: workers hold plain references to them.
  std::map<std::string, std::unique_ptr<Database>, std::less<>> databases_;
  std::map<std::string, std::unique_ptr<User>, std::less<>> users_;
  std::map<std::tuple<std::string, std::string, std::optional<poolcfg::ServerRole>>, std::unique_ptr<Pool>> pools_;
};

// The limits and times that hold for a pool, with user over database over global.
struct PoolRules {
  poolcfg::PoolMode mode;
  int pool_size, min_pool_size, reserve_pool_size, max_db_connections, max_user_connections;
  Duration server_lifetime, query_timeout, query_wait_timeout, idle_transaction_timeout, transaction_timeout;
};
PoolRules pool_rules(const RunningConfig& config, const poolcfg::DatabaseEntry& database, std::string_view user);

}  // namespace pgvigil::pool
