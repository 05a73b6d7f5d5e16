// One worker's part of a pool: its server connections by state, and its clients that wait for one. A query's usual path
// stays in here and takes no lock. Connections move between workers when another one's client has waited longer.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/time.h"
#include "pool/catalog.h"
#include "pool/cluster_route.h"
#include "pool/list.h"
#include "pool/statistics.h"

namespace pgvigil::pool {

class Server;
class Worker;
class CancelDelivery;

// Why a waiting client gets no server connection; its connection ends with this.
struct Refusal {
  std::string sqlstate = "08P01";
  std::string message;
};

// To a client whose transaction ran on a leader that leads no more. Drivers take 57P01 for a reason to try again.
inline const Refusal kPastReign{"57P01", "terminating connection: the server does not lead the cluster any more"};

// The slots of the limits that a server connection counts in.
struct ServerSlots {
  LimitSlot pool, database, user;
  LimitSlot attempt;  // of the connects under way; given back when the login has ended
};

// Whoever can have a server connection: a client session, or a look-up of the pooler's own.
class Waiter : public Listed<Waiter> {
 public:
  // Called from the queue: the server is linked to this waiter (Server::owner()).
  virtual void on_server(Server& server) = 0;
  virtual void on_refused(const Refusal& refusal) = 0;
  // The linked server is gone; it has already been unlinked. `refusal`: what a client is told. `unsent`: nothing of the
  // waiter's own had been sent on it, and it may ask for another one.
  virtual void on_server_lost(const Refusal& refusal, bool unsent) = 0;
  // It waited at login: the pool knows by now what to tell a new client.
  virtual void on_welcome() = 0;
  // Once per wait, after query_wait_notify.
  virtual void on_long_wait() = 0;

  TimePoint wait_started;     // it entered the queue
  TimePoint request_started;  // its request's first bytes
  bool long_wait_told = false;
  bool at_login = false;  // it waits for the pool's first server connection before it is welcomed

 protected:
  ~Waiter() = default;
};

class PoolShard {
 public:
  PoolShard(Pool& pool, Worker& worker);
  ~PoolShard();
  PoolShard(const PoolShard&) = delete;
  PoolShard& operator=(const PoolShard&) = delete;

  Pool& pool;
  Worker& worker;
  PoolRules rules;               // recomputed at a reload
  const Route* route = nullptr;  // in the cluster; null: the entry names its hosts
  ShardStatistics statistics;

  // A server connection, linked to the waiter; or null: it is in the queue and on_server() or on_refused() follows,
  // later. A refusal at once (nothing queued) is reported through `refused`.
  Server* take_or_queue(Waiter& waiter, std::optional<Refusal>& refused);
  void withdraw(Waiter& waiter);  // leaves the queue

  // A linked server connection is not needed any more: reset, closed, or handed to the oldest waiter.
  void release(Server& server);
  // It may be handed out (after login, reset, check, or on arrival from another worker).
  void make_idle(Server& server);
  // Something changed: hand out what is idle, open connections if allowed.
  void pump();
  // A connection for one replication client alone, not begun yet; null: no room.
  Server* open_for_replication();
  // Every third of a second: all timeouts and sizes.
  void maintain(TimePoint now);
  void apply_rules();                    // after a reload
  void close_unlinked(const char* why);  // PAUSE, KILL
  void refuse_waiting(const Refusal& refusal);
  // From another worker: close the longest-inactive connection that nobody uses, to make room.
  bool evict_one();
  // From another worker: give one that is idle to `target`.
  void donate(PoolShard& target);
  // Arrived from another worker; null: it had none to give.
  void arrive(Server* server, bool was_asked_for);
  void cancels_ended(Server& server);  // the last cancel request aimed at it has been delivered
  // A server connection of this shard was closed, in whatever state.
  void server_closed();
  // A server connection of this shard has logged in and was put to use.
  void connected();

  // --- in a cluster (shard_route.cc)
  void follow_route();  // it has changed: what does not fit it any more is closed
  [[nodiscard]] bool spreads() const { return route != nullptr && route->targets.size() > 1; }
  // The last attempt failed for the same reason: no news for the log while a leader is awaited.
  [[nodiscard]] bool failed_before(std::string_view reason) const;

  // The state of a server connection is the list it is on (see ServerState).
  List<Server> login, idle, active, used, tested, being_canceled;
  List<Waiter> waiting;
  std::size_t clients = 0;       // logged in, of this pool, on this worker
  std::size_t cancels_sent = 0;  // connections that carry a CancelRequest

  // Read by other workers.
  std::atomic<std::size_t> idle_count{0};
  static constexpr std::int64_t kNobodyWaits = INT64_MAX;
  std::atomic<std::int64_t> oldest_wait{kNobodyWaits};  // nanoseconds since boot
  std::atomic<std::int64_t> oldest_idle{kNobodyWaits};
  Counter moved;  // connections given to other workers

 private:
  // A client of another worker is served first when it has waited this much longer than our oldest one: strict order
  // would move a connection, which costs a few system calls, for nearly every transaction.
  static constexpr Duration kFairness = std::chrono::milliseconds(2);
  static constexpr int kParallelConnects = 4;

  Server* take_idle();
  Server* first_idle() const;
  [[nodiscard]] bool fits_route(const Server& server) const;
  void rebalance();
  [[nodiscard]] Duration retry_delay(const ConnectHistory& history) const;
  void retry_soon();
  void finish_release(Server& server);
  void serve(Waiter& waiter, Server& server);
  void seek();
  void welcome_waiting();
  void publish_waiting();
  void publish_idle();
  PoolShard* longer_waiting_elsewhere() const;
  void hand_over(Server& server, PoolShard& to);
  bool open_one(bool for_waiting);
  std::optional<ServerSlots> take_slots(bool for_waiting, bool known);
  bool make_room(bool for_user);
  std::size_t ask_other_workers(std::size_t wanted);
  void check_waiting(TimePoint now);
  void check_active(TimePoint now);
  void check_unlinked(TimePoint now);
  void keep_minimum();
  [[nodiscard]] bool blocked() const;  // paused, or the database is being removed

  TimePoint last_lifetime_close_;
  std::size_t donations_expected_ = 0;
  bool published_waiting_ = false;
  bool pump_due_ = false;
  bool retry_due_ = false;
};

}  // namespace pgvigil::pool
