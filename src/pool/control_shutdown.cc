// Control: the ways to end.
#include <utility>

#include "pool/pool_control.h"

namespace pgvigil::pool {

void PoolControl::shutdown_now() {
  if (std::exchange(exiting_, true)) return;
  wiring_.notify("STOPPING=1");
  const bool frozen = pooler().suspended;
  wiring_.exit(frozen ? 1 : 0);
}

void PoolControl::stop_with_signal(Shutdown mode) {
  if (pooler().shutdown != Shutdown::None || pooler().suspended) return shutdown_now();
  shutdown(mode);
}

void PoolControl::shutdown(Shutdown mode) {
  if (mode == Shutdown::None) return shutdown_now();
  wiring_.notify("STOPPING=1");
  pooler().shutdown = mode;
  wiring_.listeners.close_tcp();
  if (mode == Shutdown::WaitForServers) {
    pooler().paused = true;
    close_unlinked(nullptr);
    pooler().on_workers([](Worker& worker) {
      for (PoolShard* shard : worker.shards()) shard->refuse_waiting({"08P01", "server shutting down"});
    });
  }
  look_soon();
}

void PoolControl::drain() {
  wiring_.notify = [](const std::string&) {};  // the service is the other process now
  draining_ = true;
  pooler().log.put(Level::Log, "another process has taken the listening sockets over; {} clients stay until they leave",
                   pooler().client_count.load());
  look_soon();
}

void PoolControl::look_at_shutdown() {
  if (exiting_) return;
  const Shutdown mode = pooler().shutdown;
  if (mode == Shutdown::WaitForServers) {
    if (servers_of(nullptr) > 0) return;
    pooler().log.put(Level::Log, "server connections dropped, exiting");
    shutdown_now();
  } else if (mode == Shutdown::WaitForClients || draining_) {
    end_if_nobody_is_left();
  }
}

void PoolControl::end_if_nobody_is_left() {
  if (pooler().client_count > 0 || asked_workers_) return;
  asked_workers_ = true;
  // A client that was accepted may still be on its way to its worker: it is there when the worker answers.
  pooler().gather([](Worker&) {},
                  [this] {
                    asked_workers_ = false;
                    if (pooler().client_count > 0 || exiting_) return;
                    pooler().log.put(Level::Log, "all clients have left, exiting");
                    shutdown_now();
                  });
}

}  // namespace pgvigil::pool
