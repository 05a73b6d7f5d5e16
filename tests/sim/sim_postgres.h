// The agent's way to the PostgreSQL of its machine: the port postgres/port.h over simulated processes and files. The
// comparison of histories is the real one (postgres/rewind.h).
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "postgres/port.h"

namespace pgvigil::sim {

class Cluster;
class Machine;

class SimPostgres final : public postgres::Postgres {
 public:
  SimPostgres(Cluster& cluster, Machine& machine, Clock& clock);

  // The postmaster has ended.
  void server_ended();

  Task<Instance> observe(TimePoint deadline) override;
  void on_exit(std::function<void(bool expected)> handler) override { exit_handler_ = std::move(handler); }
  DataDirectory data_directory() override;
  Result<ControlData> control_data() override;
  Task<Result<void>> bootstrap(postgres::Progress progress) override;
  Task<Result<void>> clone(std::optional<postgres::Upstream> source, bool only_basebackup,
                           postgres::Progress progress) override;
  Task<Result<void>> start(postgres::RunAs run, TimePoint deadline) override;
  Task<Result<void>> stop(postgres::StopMode mode, TimePoint deadline,
                          std::function<void(Lsn)> checkpoint_done) override;
  void kill_now() override;
  Task<Result<void>> promote(Timeline taken, TimePoint deadline) override;
  Task<Result<void>> checkpoint(TimePoint deadline) override;
  Task<Result<bool>> reconfigure(postgres::RunAs run, TimePoint deadline) override;
  Task<Result<void>> reload(TimePoint deadline) override;
  Task<Result<void>> sync_slots(SlotPlan plan, TimePoint deadline) override;
  Task<Result<postgres::LeaderHistory>> ask_leader(postgres::Upstream leader, TimePoint deadline) override;
  Task<Result<std::vector<postgres::TimelineSwitch>>> local_history(Timeline timeline, TimePoint deadline) override;
  Task<postgres::RewindVerdict> rewind_needed(postgres::LeaderHistory leader, TimePoint deadline) override;
  Task<Result<void>> rewind(postgres::Upstream leader, postgres::Progress progress) override;
  [[nodiscard]] bool can_rewind() override { return true; }
  Task<Result<WalEnd>> find_wal_end(TimePoint deadline) override;
  Task<Result<void>> probe_writes(TimePoint deadline) override;
  Task<Result<void>> crash_recover(TimePoint deadline) override;
  Result<void> set_aside_data_directory() override;
  Task<Result<void>> remove_data_directory() override;
  void cancel_action() override { ++action_; }
  void run_callback(const std::string&, const std::string&) override {}
  Task<Result<void>> pre_promote(TimePoint deadline) override;

 private:
  // Sleeps in small pieces; false when the action was cancelled meanwhile.
  Task<bool> work(Duration length, std::uint64_t action);
  [[nodiscard]] std::optional<std::size_t> place_of(const std::optional<postgres::Upstream>& upstream) const;
  // A server that this machine can connect to; null: none.
  [[nodiscard]] Machine* reachable_source(const std::optional<postgres::Upstream>& upstream) const;
  Task<bool> wait_end(std::int64_t pid, TimePoint deadline, const std::function<void()>& each);
  void fill_running(Instance& instance) const;

  Cluster& cluster_;
  Machine& machine_;
  Clock& clock_;
  std::function<void(bool)> exit_handler_;
  bool exit_expected_ = false;
  std::uint64_t action_ = 0;
};

}  // namespace pgvigil::sim
