#include "pool/catalog.h"

#include "pool/shard.h"

namespace pgvigil::pool {

std::optional<LimitSlot> LimitSlot::try_take(std::atomic<int>& used, int limit) {
  for (int n = used.load(); limit <= 0 || n < limit;) {
    if (used.compare_exchange_weak(n, n + 1)) return LimitSlot(used);
  }
  return std::nullopt;
}

bool LimitSlot::give_back_above(int least) {
  for (int n = used_ == nullptr ? least : used_->load(); n > least;) {
    if (!used_->compare_exchange_weak(n, n - 1)) continue;
    used_ = nullptr;
    return true;
  }
  return false;
}

ReplayGoal User::replay_goal() {
  const std::lock_guard lock(mutex_);
  return goal_;
}

void User::learn_goal(const ReplayGoal& goal) {
  const std::lock_guard lock(mutex_);
  if (goal.reign < goal_.reign || (goal.reign == goal_.reign && goal.commits < goal_.commits)) return;
  goal_ = goal;
}

pgwire::ScramSecret User::ad_hoc_secret(const std::string& password, std::uint32_t iterations) {
  const std::lock_guard lock(mutex_);
  if (!ad_hoc_ || ad_hoc_for_ != password || ad_hoc_->iterations != iterations) {
    ad_hoc_ = pgwire::make_scram_secret(password, pgwire::random_bytes(16), iterations);
    ad_hoc_for_ = password;
  }
  return *ad_hoc_;
}

Pool::Pool(Database& of, User& as, bool forced, std::optional<poolcfg::ServerRole> own_role, std::size_t workers)
    : database(of),
      user(as),
      forced_user(forced),
      role(own_role),
      label(own_role ? fmt::format("{}:{}", of.name(), to_string(*own_role)) : of.name()),
      shards_(workers) {}

Pool::~Pool() {
  for (auto& shard : shards_) delete shard.load();
}

WelcomePtr Pool::welcome() const {
  const std::lock_guard lock(mutex_);
  return welcome_;
}

void Pool::set_welcome(WelcomePtr welcome, std::uint64_t of_generation) {
  const std::lock_guard lock(mutex_);
  if (of_generation != generation) return;
  welcome_ = std::move(welcome);
  has_welcome = welcome_ != nullptr;
}

ConnectHistory Pool::history() const {
  const std::lock_guard lock(mutex_);
  return history_;
}

void Pool::connect_started(TimePoint now) {
  const std::lock_guard lock(mutex_);
  history_.last_started = now;
}

void Pool::connect_ended(bool failed, bool at_login, std::string reason) {
  const std::lock_guard lock(mutex_);
  history_.last_failed = failed;
  failing = failed;
  history_.login_failed = failed;
  history_.failures = failed ? history_.failures + 1 : 0;
  static_cast<void>(at_login);
  history_.reason = std::move(reason);
}

void Pool::forget_failures() {
  const std::lock_guard lock(mutex_);
  history_ = ConnectHistory{};
  failing = false;
}

LoginSecrets Pool::secrets() const {
  const std::lock_guard lock(mutex_);
  return secrets_;
}

void Pool::remember(const LoginSecrets& secrets) {
  const std::lock_guard lock(mutex_);
  if (secrets.password) secrets_.password = secrets.password;
  if (secrets.keys) secrets_.keys = secrets.keys;
}

Catalog::Catalog(RunningConfigPtr config, std::size_t workers) : workers_(workers) { adopt(std::move(config)); }

Catalog::~Catalog() = default;

void Catalog::adopt(RunningConfigPtr config) {
  const std::lock_guard lock(mutex_);
  config_ = std::move(config);
  const auto& file = config_->file;
  const auto renew = [this](Database& database, poolcfg::DatabaseEntry entry) {
    const bool same = database.entry()->same_connection(entry);
    database.set_entry(std::make_shared<const poolcfg::DatabaseEntry>(std::move(entry)));
    if (same) return;
    for (auto& [key, pool] : pools_) {
      if (&pool->database != &database) continue;
      ++pool->generation;
      pool->forget_welcome();
    }
  };
  for (auto& [name, database] : databases_) {
    const auto written = file.databases.find(name);
    if (written != file.databases.end()) {
      database->removed = false;
      renew(*database, written->second);
    } else if (database->automatic() && file.any_database) {
      renew(*database, poolcfg::database_from_any(*file.any_database, name));
    } else {
      database->removed = true;
    }
  }
  for (const auto& [name, entry] : file.databases) {
    if (databases_.count(name) != 0) continue;
    auto made = std::make_shared<const poolcfg::DatabaseEntry>(entry);
    databases_.emplace(name, std::make_unique<Database>(name, std::move(made), false));
  }
}

Database* Catalog::database(std::string_view name) {
  const std::lock_guard lock(mutex_);
  const auto known = databases_.find(name);
  if (known != databases_.end()) return known->second->removed ? nullptr : known->second.get();
  if (!config_->file.any_database) return nullptr;
  auto entry = std::make_shared<const poolcfg::DatabaseEntry>(
      poolcfg::database_from_any(*config_->file.any_database, std::string(name)));
  auto made = std::make_unique<Database>(std::string(name), std::move(entry), true);
  if (on_automatic) on_automatic(made->name());
  return databases_.emplace(std::string(name), std::move(made)).first->second.get();
}

User& Catalog::user(std::string_view name) {
  const std::lock_guard lock(mutex_);
  const auto known = users_.find(name);
  if (known != users_.end()) return *known->second;
  return *users_.emplace(std::string(name), std::make_unique<User>(std::string(name))).first->second;
}

Pool& Catalog::pool(Database& database, User& user, bool forced_user, std::optional<poolcfg::ServerRole> role) {
  const std::lock_guard lock(mutex_);
  auto& pool = pools_[{database.name(), user.name(), role}];
  if (!pool) pool = std::make_unique<Pool>(database, user, forced_user, role, workers_);
  return *pool;
}

std::vector<Database*> Catalog::databases() const {
  const std::lock_guard lock(mutex_);
  std::vector<Database*> all;
  for (const auto& [name, database] : databases_) {
    if (!database->removed) all.push_back(database.get());
  }
  return all;
}

std::vector<User*> Catalog::users() const {
  const std::lock_guard lock(mutex_);
  std::vector<User*> all;
  for (const auto& [name, user] : users_) all.push_back(user.get());
  return all;
}

std::vector<Pool*> Catalog::pools() const {
  const std::lock_guard lock(mutex_);
  std::vector<Pool*> all;
  for (const auto& [key, pool] : pools_) all.push_back(pool.get());
  return all;
}

std::vector<Pool*> Catalog::pools_of(const Database& database) const {
  std::vector<Pool*> some;
  for (Pool* pool : pools()) {
    if (&pool->database == &database) some.push_back(pool);
  }
  return some;
}

std::vector<Pool*> Catalog::pools_of(const User& user) const {
  std::vector<Pool*> some;
  for (Pool* pool : pools()) {
    if (&pool->user == &user) some.push_back(pool);
  }
  return some;
}

PoolRules pool_rules(const RunningConfig& config, const poolcfg::DatabaseEntry& database, std::string_view user) {
  const poolcfg::Settings& all = config.settings();
  const auto found = config.file.users.find(user);
  static const poolcfg::UserEntry kNone;
  const poolcfg::UserEntry& own = found == config.file.users.end() ? kNone : found->second;
  const auto first = [](const auto& a, const auto& b, const auto& c) { return a ? *a : b ? *b : c; };
  const auto over = [](const auto& a, const auto& b) { return a ? *a : b; };
  PoolRules rules{};
  rules.mode = first(own.pool_mode, database.pool_mode, all.pool_mode);
  rules.pool_size = first(own.pool_size, database.pool_size, all.default_pool_size);
  rules.min_pool_size = over(database.min_pool_size, all.min_pool_size);
  rules.reserve_pool_size = first(own.reserve_pool_size, database.reserve_pool_size, all.reserve_pool_size);
  rules.max_db_connections = over(database.max_db_connections, all.max_db_connections);
  rules.max_user_connections = over(own.max_user_connections, all.max_user_connections);
  rules.server_lifetime = over(database.server_lifetime, all.server_lifetime);
  rules.query_timeout = over(own.query_timeout, all.query_timeout);
  rules.query_wait_timeout = first(own.query_wait_timeout, database.query_wait_timeout, all.query_wait_timeout);
  rules.idle_transaction_timeout = over(own.idle_transaction_timeout, all.idle_transaction_timeout);
  rules.transaction_timeout = over(own.transaction_timeout, all.transaction_timeout);
  return rules;
}

}  // namespace pgvigil::pool
