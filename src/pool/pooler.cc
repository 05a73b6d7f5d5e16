#include "pool/pooler.h"

#include "pgwire/password.h"
#include "pool/worker.h"

namespace pgvigil::pool {

void CancelIndex::add(std::uint64_t key, Entry entry) {
  const std::lock_guard lock(mutex_);
  entries_[key] = entry;
}

void CancelIndex::remove(std::uint64_t key) {
  const std::lock_guard lock(mutex_);
  entries_.erase(key);
}

CancelIndex::Entry CancelIndex::find(std::uint64_t key) const {
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(key);
  return entry == entries_.end() ? Entry{} : entry->second;
}

Pooler::Pooler(RunningConfigPtr config, std::size_t worker_count, PoolLog& log_lines)
    : log(log_lines),
      tracked(config->settings().track_extra_parameters),
      catalog(config, worker_count),
      mock_key(pgwire::random_bytes(32)),
      config_(std::move(config)) {}

Pooler::~Pooler() = default;

RunningConfigPtr Pooler::config() const {
  const std::lock_guard lock(mutex_);
  return config_;
}

void Pooler::set_config(RunningConfigPtr config) {
  const std::lock_guard lock(mutex_);
  config_ = std::move(config);
}

ClusterStatePtr Pooler::cluster() const {
  const std::lock_guard lock(mutex_);
  return cluster_;
}

void Pooler::set_cluster(ClusterStatePtr cluster) {
  const std::lock_guard lock(mutex_);
  cluster_ = std::move(cluster);
}

void Pooler::on_workers(const std::function<void(Worker&)>& call) {
  for (const auto& worker : workers) {
    Worker* target = worker.get();
    target->post([target, call] { call(*target); });
  }
}

void Pooler::gather(const std::function<void(Worker&)>& call, std::function<void()> done) {
  auto left = std::make_shared<std::atomic<std::size_t>>(workers.size());
  auto finished = std::make_shared<std::function<void()>>(std::move(done));
  on_workers([this, call, left, finished](Worker& worker) {
    call(worker);
    if (left->fetch_sub(1) == 1) on_control([finished] { (*finished)(); });
  });
}

std::uint64_t Pooler::make_cancel_key() const {
  std::string bytes = pgwire::random_bytes(8);
  bytes[0] = static_cast<char>(bytes[0] & 0x7F);  // the process id is a positive number for clients that print it
  const int peer = config()->settings().peer_id;
  if (peer > 0) {
    bytes[1] = static_cast<char>(peer & 0xFF);
    bytes[2] = static_cast<char>(peer >> 8 & 0xFF);
  }
  bytes[7] = static_cast<char>(bytes[7] | 3);
  std::uint64_t key = 0;
  for (const char c : bytes) key = key << 8 | static_cast<unsigned char>(c);
  return key;
}

}  // namespace pgvigil::pool
