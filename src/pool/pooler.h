// What the workers share, and the process's state: running, paused, shutting down.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "pool/catalog.h"
#include "pool/cluster_route.h"
#include "pool/log.h"
#include "pool/resolver.h"
#include "pool/running_config.h"
#include "pool/session_parameters.h"
#include "pool/statements.h"

namespace pgvigil::pool {

class Client;
class Worker;
struct ConsoleStart;

enum class Shutdown : std::uint8_t { None, WaitForServers, WaitForClients };

// Which client a CancelRequest means. From any thread; a client's entry is removed only by its own worker, so an entry
// that is found on that worker's thread names a client that lives.
class CancelIndex {
 public:
  struct Entry {
    Worker* worker = nullptr;  // null: a console session
    Client* client = nullptr;
  };
  void add(std::uint64_t key, Entry entry);
  void remove(std::uint64_t key);
  [[nodiscard]] Entry find(std::uint64_t key) const;

 private:
  mutable std::mutex mutex_;
  std::unordered_map<std::uint64_t, Entry> entries_;
};

struct Pooler {
  Pooler(RunningConfigPtr config, std::size_t worker_count, PoolLog& log_lines);
  ~Pooler();

  [[nodiscard]] RunningConfigPtr config() const;
  void set_config(RunningConfigPtr config);
  [[nodiscard]] ClusterStatePtr cluster() const;  // null: none is followed, or nothing is known of it yet
  void set_cluster(ClusterStatePtr cluster);

  // Runs the call on every worker's thread.
  void on_workers(const std::function<void(Worker&)>& call);
  // The same, and then `done` on the control thread with all of them finished.
  void gather(const std::function<void(Worker&)>& call, std::function<void()> done);
  // Runs on the control thread's loop.
  std::function<void(std::function<void()>)> on_control;
  // A session of the console: the control thread takes over its stream (see console.h). From any thread.
  std::function<void(ConsoleStart)> to_console;  // posts to the control thread itself

  PoolLog& log;
  TrackedNames tracked;
  Catalog catalog;
  StatementTable statements;
  CancelIndex cancels;
  std::function<void(std::uint64_t key)> cancel_console;  // from any thread
  // PAM and LDAP block: they run on threads of their own. `done` is posted to the loop.
  struct BlockingCheck {
    bool pam = false;  // else LDAP
    std::string user, password, remote, options;
  };
  std::function<void(BlockingCheck, netio::Loop&, std::function<void(bool right)> done)> check_blocking;
  std::unique_ptr<Resolver> resolver;
  std::vector<std::unique_ptr<Worker>> workers;

  std::atomic<int> client_count{0};  // every client socket, also logins and cancels
  std::atomic<std::uint64_t> next_id{1};
  std::atomic<bool> paused{false}, suspended{false};
  std::atomic<Shutdown> shutdown{Shutdown::None};
  // The reign that the control thread knows of. Connections to a leader that were opened under another one carry no
  // query any more, whether their worker has heard of it or not.
  std::atomic<std::uint64_t> reign{0};
  MemberLoads loads;
  std::string mock_key;  // of this process, for users that do not exist

  // Eight random bytes, as far as peering leaves them random.
  std::uint64_t make_cancel_key() const;

 private:
  mutable std::mutex mutex_;
  RunningConfigPtr config_;
  ClusterStatePtr cluster_;
};

}  // namespace pgvigil::pool
