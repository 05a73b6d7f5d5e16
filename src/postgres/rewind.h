// Whether a server has left the leader's history, as a pure function. PostgreSQL documentation, "pg_rewind" and
// "Timelines".
#pragma once

#include "model/instance.h"
#include "postgres/port.h"

namespace pgvigil::postgres {

struct LocalEnd {  // where this server's WAL ends
  Timeline timeline;
  Lsn position;             // of a standby: all that it has; of a stopped primary: its last checkpoint's record
  bool as_primary = false;  // it wrote WAL itself: `position` is the start of a record, not the end of WAL
  Lsn record_end;           // of a stopped primary: the end of that record; unknown: not looked at
};

// Empty: the control data does not tell the end of WAL (the server was killed as a primary, or is starting).
std::optional<LocalEnd> local_end(const ControlData& control);

RewindVerdict compare_histories(const LocalEnd& local, const LeaderHistory& leader);

// Of a standby that is still starting, by its control file: Needed when the point from which on it is consistent lies
// outside of the leader's history; else Unknown, since it may replay more than that.
RewindVerdict compare_while_starting(const ControlData& control, const LeaderHistory& leader);

}  // namespace pgvigil::postgres
