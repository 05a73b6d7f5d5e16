// What a member says of itself at GET /patroni, as far as restarts and drills look at it, and the waits that rest on
// it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ctl/context.h"

namespace pgvigil::ctl {

struct MemberReport {
  std::string role, state, postmaster_start_time;
  bool pending_restart = false;
  Lsn position;                        // written by a primary, received by a standby
  Lsn replayed;                        // by a standby
  std::vector<std::string> streaming;  // the members that stream from it
  [[nodiscard]] bool runs_as_primary() const { return state == "running" && (role == "primary" || role == "master"); }
};

// Pure. What cannot be read is empty.
MemberReport parse_report(const std::string& json);

MemberReport report_of(Context& context, const std::string& name);
// Asks again and again; a member that does not answer has not met the condition yet. False: not within `patience`.
bool wait_for(Duration patience, const std::function<bool()>& condition);
// Until `name` streams from the leader and holds what the leader had when the wait began.
bool wait_until_it_follows(Context& context, const std::string& name, Duration patience);
// `action`: "switchover" or "failover". Returns when `candidate` leads and accepts writes; throws when it does not.
void change_leader(Context& context, const std::string& action, const std::string& leader,
                   const std::string& candidate);
std::string leader_name(Context& context);  // throws when there is none

}  // namespace pgvigil::ctl
