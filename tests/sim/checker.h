// The promises, checked after every event. A broken one ends the schedule.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "dcs/kv_store.h"
#include "model/cluster_view.h"
#include "wal.h"
#include "world.h"

namespace pgvigil::sim {

class Cluster;
class Machine;

class Checker {
 public:
  explicit Checker(Cluster& cluster) : cluster_(cluster) {}

  void after_event();
  // Once a second: which records every member holds. None of them may ever be missing on a leader.
  void note_replicated();
  void becomes_primary(const Machine& machine, bool promoted);
  void leader_key_changes(const dcs::KeyValue* before, const dcs::KeyValue* after, bool expired);
  void streams_from(const Machine& standby, const Machine& upstream);
  void guard_struck(const Machine& machine);
  // The commit that is record `index` of its WAL.
  void acknowledged(const Machine& machine, std::size_t index);
  [[nodiscard]] TimePoint last_acknowledged() const {
    return acknowledged_.empty() ? TimePoint() : acknowledged_.back().when;
  }
  // The value that is about to be written under the key `drain`.
  void asks_to_drain(const std::string& value);
  // Synchronous replication has been switched off.
  void promises_end() { promised_.clear(); }
  // An operator orders the promotion of this very member, whatever it lacks.
  void ordered_by_name(const std::string& name) { ordered_[name] = now(); }
  // From here on asynchronous replication may lose what one member alone holds: a server was killed, a key expired,
  // several members are away.
  void data_is_at_risk() { at_risk_ = true; }
  void at_end();

  void broken(std::string promise);
  [[nodiscard]] const std::optional<std::string>& first_broken() const { return broken_; }

  // For the statistics of a run.
  std::uint64_t acknowledged_rows = 0, lost_rows = 0, promotions = 0, guard_kills = 0, promises = 0,
                failsafe_expiries = 0, crash_handovers = 0, drains = 0;

 private:
  [[nodiscard]] TimePoint now() const;
  [[nodiscard]] bool is_ordered(const std::string& name) const;
  void crash_gives_up(const Machine& owner);
  void keep_promises(const Machine& machine);
  [[nodiscard]] std::optional<SyncKey> sync_in_force() const;
  void note_election(const std::string& winner);

  Cluster& cluster_;
  std::optional<std::string> broken_;
  std::vector<WalRecord> replicated_;  // held by all members at some time
  struct Row {
    std::uint64_t number;
    std::size_t place;
    TimePoint when;
  };
  std::vector<Row> acknowledged_;
  // Acknowledged under synchronous replication: on every later primary.
  struct Promise {
    std::size_t index;
    std::uint64_t number;
  };
  std::vector<Promise> promised_;
  std::map<std::string, TimePoint> ordered_;
  bool at_risk_ = false;
};

}  // namespace pgvigil::sim
