// The agent's state and the parts of its work, one file for each: lease, gathering, operations, duties, publishing,
// commands. Inside agent/ only.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/agent.h"
#include "base/task_group.h"
#include "ha/decide.h"

namespace pgvigil::agent {

using ViewPtr = std::shared_ptr<const ClusterView>;

// Between two attempts to start or promote a primary whose guard does not answer for a moment.
constexpr Duration kGuardPause = std::chrono::milliseconds(200);

struct Agent::Impl {
  Impl(Ports ports, Options options);

  // --- agent.cc: the loop ---
  Task<int> run();
  Task<void> step();
  void request_stop();
  void wake() { wake_.notify(); }
  [[nodiscard]] TimePoint now() const { return p.clock.now(); }
  [[nodiscard]] ViewPtr view() const;  // never null; revision 0 before etcd was read
  [[nodiscard]] const ClusterSettings& settings() const { return view()->settings; }
  // A deadline for something that the loop waits for. A leader's loop waits for nothing beyond the moment at which it
  // has to begin to stop PostgreSQL, should the lease not be renewed until then.
  [[nodiscard]] TimePoint within(Duration length) const;
  // The next decision will be to stop PostgreSQL: whatever else there is to do comes after it.
  [[nodiscard]] bool stop_is_due() const;
  [[nodiscard]] TimePoint dcs_deadline() const { return within(settings().retry_timeout); }
  Task<void> shut_down();
  Task<void> stop_as_leader();

  // --- lease.cc: the session lease and the guard ---
  Task<void> keep_lease();
  void lease_confirmed();
  [[nodiscard]] bool attached() const;  // the leader key is ours under our lease
  [[nodiscard]] std::optional<TimePoint> leader_until() const;
  [[nodiscard]] Duration lead_ttl() const;
  [[nodiscard]] TimePoint stop_begins(TimePoint until) const;  // of a lead that is proven until then
  [[nodiscard]] std::optional<TimePoint> lease_until() const;  // by the lease or by the members' answers
  [[nodiscard]] std::optional<TimePoint> proven_by_lease() const;
  // Attached, with enough of the lease left to start a primary on its strength.
  [[nodiscard]] bool lead_is_fresh() const;
  // The guard watches `pid` until the lease's deadline, and the watchdog device is fed; false (and one log line) when
  // that cannot be had. A device that cannot be used counts only where it is required.
  bool arm_guard(std::int64_t pid);
  // The guard strikes no later than `until`: before the key moves to a lease that may end sooner than the old one.
  bool guard_within(TimePoint until);
  void disarm_guard();
  // The guard has not answered, and not for long: no reason yet to give anything up.
  [[nodiscard]] bool guard_hiccup() const;

  // --- failsafe.cc ---
  struct FailsafeRound;
  Task<void> failsafe_round();
  Task<void> ask_failsafe(std::shared_ptr<FailsafeRound> round, std::string url, std::string body, TimePoint deadline);
  [[nodiscard]] bool failsafe_applies() const;
  [[nodiscard]] std::optional<TimePoint> failsafe_until() const;
  Task<void> write_failsafe();
  Commands::FailsafeReply failsafe_ping(const std::string& name, std::optional<Duration> ttl);
  [[nodiscard]] std::optional<TimePoint> promised_until() const;

  // --- gather.cc: what a decision rests on ---
  Task<void> adopt_configuration();
  Task<void> look();  // refreshes instance_, and nothing that follows from it
  Task<void> observe();
  Task<void> ask_peers();
  struct PeerRound;
  Task<void> ask_one(std::shared_ptr<PeerRound> round, std::size_t place, std::string url, TimePoint deadline);
  [[nodiscard]] LocalState local_state();

  // --- execute.cc ---
  Task<void> execute(Decision decision);
  Task<void> acquire_leader();
  Task<void> reattach_leader();
  Task<void> release_leader(std::string reason);
  Task<void> clear_failover();
  Task<void> write_initialize();
  Task<void> claim_initialize();
  Task<void> follow(MemberName target);
  void demote_now();
  void set_role(Role role);
  void begin(Operation operation, Task<void> work);  // in the background; one at a time
  void back_off(const Error& why);

  // --- create.cc, start.cc, rewind.cc, promote.cc, handover.cc: the operations ---
  Task<void> bootstrap();
  Task<bool> found_cluster();
  Task<void> clone(MemberName source);
  Task<void> recreate(bool from_leader);
  // Bounded by a minute, which a fast stop takes only when clients or replicas hold it up.
  Task<Result<void>> stop_server(postgres::StopMode mode);
  Task<void> start_primary();
  Task<void> start_standby(MemberName upstream);
  Task<void> demote_offline();
  Task<void> demote_release();
  Task<void> demote_cluster();
  Task<void> check_rewind(MemberName leader);
  Task<void> rewind(MemberName leader);
  Task<void> crash_recover();
  Task<void> promote();
  Task<bool> prepare_synchronous();
  Task<std::optional<Timeline>> reserve_timeline();
  void begin_checkpoint();
  Task<void> checkpoint_after_promotion();
  Task<void> handover(MemberName target, std::string reason);
  struct Confirmation;
  Task<void> confirm(std::shared_ptr<Confirmation> state);
  Task<bool> give_up_lead(Lsn end, std::optional<FailoverRequest> request);
  void note_failure();
  Task<void> probe_disk();
  Task<bool> holds_all(MemberName member, WalEnd end);
  Task<void> find_wal_end();
  Task<void> hand_over_crashed(MemberName successor, std::string reason);
  Task<void> note_crash(WalEnd end, MemberName successor, std::string reason);
  Task<void> give_up_standby_lead(std::string reason);
  Task<void> restart_server(RestartRequest request);

  // --- drain.cc ---
  Task<bool> drain_poolers(std::string reason);
  [[nodiscard]] std::string why_not_stopped() const;  // after it has said no
  [[nodiscard]] TimePoint drain_limit() const;
  Task<void> note_drain(DrainNote note);
  Task<void> end_drain();

  [[nodiscard]] std::optional<postgres::Upstream> upstream(const MemberName& target) const;
  [[nodiscard]] std::optional<postgres::Upstream> remote_upstream() const;
  [[nodiscard]] postgres::RunAs as_standby(const MemberName& target) const;
  [[nodiscard]] postgres::RunAs as_primary();
  [[nodiscard]] postgres::Progress progress_sink();

  // --- duties.cc: what a leader and a replica keep up ---
  Task<void> lead();
  Task<void> write_status();
  Task<void> write_history();
  [[nodiscard]] std::string loss_text(const HistoryEntry& left) const;
  [[nodiscard]] std::string drain_text(const HistoryEntry& left) const;
  Task<void> write_missing_config();
  void note_config_change(const std::string& before);
  Task<void> write_config_history();
  Task<void> sync_slots();
  [[nodiscard]] postgres::Postgres::SlotPlan slot_plan();
  void note_member_slots();
  [[nodiscard]] ClusterStatus status_value() const;

  // --- sync.cc ---
  Task<void> keep_synchronous();
  void note_sync_sample();
  Task<bool> set_sync_names(std::optional<ha::SyncNames> names, bool standby);
  Task<bool> write_sync_key(SyncKey key, bool remove);
  [[nodiscard]] std::optional<std::string> sync_names_to_start_with() const;

  // --- publish.cc ---
  Task<void> publish_member();
  [[nodiscard]] Member member_record() const;
  void publish_status();
  [[nodiscard]] InstanceState instance_state() const;
  void report(const Decision& decision);

  // --- commands.cc ---
  Task<CommandReply> restart(RestartRequest request);
  [[nodiscard]] std::string restart_refused(const RestartRequest& request) const;
  Task<CommandReply> reinitialize(bool force, bool from_leader);
  Task<void> scheduled_restart_due();

  Ports p;
  Options options;
  Log log;
  Signal wake_, lease_wake_, operation_done_, drain_wake_;
  TaskGroup tasks_;

  // The loop.
  TimePoint started_;
  bool first_step_ = true;
  unsigned stop_requests_ = 0;
  bool stopping_ = false;
  std::optional<int> exit_code_;
  TimePoint next_step_by_;
  Decision last_decision_;
  std::string last_reported_;
  std::map<std::string, std::uint64_t> decision_counts_;
  ViewPtr no_view_;
  bool reload_due_ = false, local_reload_due_ = false;
  Revision adopted_config_;
  std::optional<TimePoint> dcs_silent_since_;

  // The node.
  Instance instance_;
  Role role_ = Role::Uninitialized;
  Operation operation_ = Operation::None;
  std::uint64_t operations_ended_ = 0;
  std::string progress_;
  std::string problem_;  // the last failure, until this node leads or streams
  bool initialize_is_mine_ = false;
  Revision claim_;  // of ours on the cluster that is to be created
  bool crashed_ = false, start_failed_ = false, crash_recovered_ = false, wal_end_sought_ = false;
  std::optional<WalEnd> wal_end_;
  bool writes_stuck_ = false, probing_ = false;
  bool disk_fails_ = false;  // it answers with an error, rather than not at all
  TimePoint probe_after_;
  std::deque<TimePoint> failures_;  // of PostgreSQL as the leader, of late
  std::optional<TimePoint> failed_leader_until_;
  Duration failed_pause_{0};
  std::optional<TimePoint> starting_since_, stopped_since_, retry_at_, no_race_until_;
  Duration backoff_{0};
  RewindStage rewind_ = RewindStage::Due;
  std::string rewind_reason_;
  std::optional<TimePoint> not_streaming_since_;
  Timeline leader_timeline_;
  MemberName former_leader_;
  bool was_paused_ = false;

  // The race.
  bool peers_asked_ = false;
  std::optional<TimePoint> no_leader_since_;
  std::vector<PeerAnswer> peers_;
  std::vector<Member> last_members_;  // of the last view with a leader

  // Lease and guard.
  std::optional<TimePoint> held_until_;  // the last deadline that a lease of ours proved while we held the key
  Duration held_ttl_{};                  // of the lease whose deadline is in force; zero: not known
  std::int64_t guarded_pid_ = 0;
  bool guard_adopted_ = false;  // armed by an earlier agent
  TimePoint armed_until_;       // what the guard has confirmed last
  TimePoint guard_trouble_since_;
  bool lead_doubtful_ = false;  // see LocalState
  unsigned rewind_failures_ = 0;
  bool guard_trouble_ = false, watchdog_failed_ = false;

  // Failsafe mode.
  std::optional<TimePoint> failsafe_sent_;               // the last round that everybody answered was sent then
  Duration failsafe_ttl_{0};                             // in force then
  std::map<std::string, std::string> failsafe_written_;  // and perhaps not applied
  std::optional<TimePoint> promised_until_;              // not to take the lead
  bool failsafe_busy_ = false;
  bool acquiring_ = false;  // a request for the leader key is under way

  // Duties.
  std::optional<postgres::RunAs> running_as_;
  std::map<std::string, TimePoint> member_slots_;  // last seen
  TimePoint duties_at_;
  std::vector<ConfigChange> config_changes_;  // seen, and not yet in the history that the leader keeps
  Timeline history_checked_;
  WalBytes lacking_{0};  // behind the last leader's position in etcd, when this member was promoted
  bool checkpoint_pending_ = false;
  bool reconfigure_failed_ = false;

  // Synchronous replication.
  std::optional<std::string> sync_in_force_;  // of this leader's server, as last seen or set
  std::optional<TimePoint> sync_since_;       // the names in force are, as far as this agent knows
  Lsn sync_sample_;                           // see LocalState
  bool sync_doubtful_ = false;                // a write of the key may or may not have been applied
  bool sync_released_ = false;                // the user's own names are in force

  // Publishing.
  std::string published_;
  std::string published_without_position_;
  LeaseId published_lease_;
  TimePoint published_at_;
  std::shared_ptr<const AgentStatus> status_;
  bool callback_ran_ = false;

  // Commands.
  std::optional<RestartRequest> scheduled_restart_;
  std::optional<Result<void>> command_result_;
};

}  // namespace pgvigil::agent
