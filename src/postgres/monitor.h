// Observation of a running server: one round trip on the persistent connection that answers all of model/instance.h.
// PostgreSQL documentation, "The Cumulative Statistics System", "System Administration Functions"; versions 13 to 18.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "model/instance.h"
#include "postgres/local_session.h"
#include "postgres/port.h"

namespace pgvigil::postgres {

// IDENTIFY_SYSTEM ("Streaming Replication Protocol").
struct SystemIdentity {
  SystemId system_id;
  Timeline timeline;
  Lsn position;
};
// On a walsender connection.
Task<Result<SystemIdentity>> identify_system(PgConnection& walsender, TimePoint deadline);
// TIMELINE_HISTORY, parsed; timeline 1 has none: empty.
Task<Result<std::vector<TimelineSwitch>>> timeline_history(PgConnection& walsender, Timeline timeline,
                                                           TimePoint deadline);
// The text of a <timeline>.history file; lines that are not understood make it an error.
Result<std::vector<TimelineSwitch>> parse_timeline_history(std::string_view text);

// Everything about the leader that a rewind decision needs: a walsender connection plus one query, as the rewind user.
Task<Result<LeaderHistory>> read_leader_history(Clock& clock, const config::PostgresConfig& config, Upstream leader,
                                                TimePoint deadline);

class Monitor {
 public:
  explicit Monitor(Log log) : log_(log.in_room("postgres")) {}

  // Fills all that the server knows into `known` (data_directory, pid, observed, control, standby_configured stay) and
  // sets `postmaster`. Call it only while a postmaster is there: a server that does not answer is Starting (it refuses
  // connections) or Unresponsive (no answer, or none that we may have), never Stopped, and nothing of it is known then
  // but what the caller passed in.
  Task<Instance> read(LocalSession& session, Instance known, TimePoint deadline);
  // Forgets what is cached; call it when the postmaster has ended.
  void forget();

 private:
  Task<Timeline> standby_timeline(LocalSession& session, const Instance& instance, TimePoint deadline);
  void say_once(const std::string& message);

  Log log_;
  std::string last_said_;
  // IDENTIFY_SYSTEM needs a connection of its own: the answer holds while nothing is replayed.
  std::string cached_for_;
  Timeline cached_timeline_;
};

}  // namespace pgvigil::postgres
