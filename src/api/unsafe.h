// Requests that change something. Checks and texts are those of Patroni's REST API, to the letter: tools decide on
// them.
#pragma once

#include <optional>
#include <string>

#include "agent/commands.h"
#include "api/http.h"
#include "api/json.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/task_group.h"
#include "base/time.h"

namespace pgvigil::api {

struct Schedule {
  WallTime at;
  std::string text;  // ISO 8601 with offset
};
// `action`: "restart" or "switchover", for the texts. `refusal` is set when the result is empty.
std::optional<Schedule> parse_schedule(const Json& value, const std::string& action, WallTime now,
                                       agent::CommandReply& refusal);

// A POST /restart body, checked in the order of its keys. `refusal` is set when the result is empty.
std::optional<RestartRequest> parse_restart(const Json& body, WallTime now, agent::CommandReply& refusal);

struct FailoverOrder {
  bool switchover = true;  // a failover that names a leader is one, too
  std::string leader, candidate;
  std::optional<Schedule> schedule;
  [[nodiscard]] std::string key() const;     // value of the `failover` key
  [[nodiscard]] std::string action() const;  // "switchover", "failover"
};
// Everything that can be checked without asking anybody. `refusal` is set when the result is empty.
std::optional<FailoverOrder> check_failover(const std::string& path_action, const Json& body, const ClusterView& view,
                                            bool paused, WallTime now, agent::CommandReply& refusal);

class UnsafeRequests {
 public:
  UnsafeRequests(agent::Commands& commands, TaskGroup& tasks, Log log)
      : commands_(commands), clock_(commands.clock()), tasks_(tasks), log_(log) {}

  // Whether there is such a request at all; everything else is 501.
  [[nodiscard]] static bool knows(const Request& request);
  // The access checks have passed.
  Task<Reply> carry_out(Request request);

 private:
  Task<Reply> post(Request request);
  Task<Reply> patch_config(Request request);
  Task<Reply> put_config(Request request);
  Task<Reply> restart(Request request);
  Task<Reply> failover(Request request);
  Task<Reply> delete_switchover();
  Task<Reply> reinitialize(Request request);
  Task<Reply> failsafe(Request request);

  Task<bool> any_can_take_over(std::vector<MemberName> members);
  Task<agent::CommandReply> poll_outcome(FailoverOrder order, MemberName old_leader, Revision written);
  Task<bool> write_order(FailoverOrder order, Revision* written);
  // Runs the command to its end in the background and waits for it no longer than `bound`.
  Task<agent::CommandReply> bounded(Task<agent::CommandReply> command, Duration bound, std::string action);
  [[nodiscard]] TimePoint write_deadline() const;

  agent::Commands& commands_;
  Clock& clock_;
  TaskGroup& tasks_;
  Log log_;
};

}  // namespace pgvigil::api
