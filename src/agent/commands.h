// What the REST API asks of the agent. Implemented by Agent; the API's tests use a fake.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "agent/status.h"
#include "base/clock.h"
#include "base/error.h"
#include "dcs/kv_store.h"
#include "model/member.h"

namespace pgvigil::agent {

struct CommandReply {  // status code and text, to the letter of the REST interface
  int status = 200;
  std::string text;
};

class Commands {
 public:
  virtual ~Commands() = default;
  [[nodiscard]] virtual std::shared_ptr<const AgentStatus> status() const = 0;
  virtual Clock& clock() = 0;

  // Restarts PostgreSQL now and waits until it is done. The filters were parsed; they are checked here.
  virtual Task<CommandReply> restart(RestartRequest request) = 0;
  virtual Task<CommandReply> schedule_restart(RestartRequest request) = 0;
  virtual Task<CommandReply> delete_scheduled_restart() = 0;
  virtual Task<CommandReply> reinitialize(bool force, bool from_leader) = 0;
  virtual CommandReply reload() = 0;
  // The `config` key. Empty `expected`: unconditional.
  virtual Task<dcs::TxnReply> write_config(std::string json, std::optional<Revision> expected, TimePoint deadline) = 0;
  virtual Task<dcs::TxnReply> write_failover(std::string json, std::optional<Revision> expected,
                                             TimePoint deadline) = 0;
  // Whether `member` could take over now: reachable, not nofailover, no failed watchdog, lag and timeline fit.
  virtual Task<bool> can_take_over(MemberName member) = 0;
  // A fresh observation of PostgreSQL for GET /patroni (bounded; falls back to the last one).
  virtual Task<Instance> observe_now() = 0;
  // POST /failsafe of a primary; the reply and the value of the `lsn` header (unknown: none).
  struct FailsafeReply {
    int status = 502;
    std::string text;
    Lsn lsn;
  };
  // `ttl`: of the sender, where it tells (pgvigil does).
  virtual FailsafeReply failsafe_ping(const std::string& name, const std::string& conn_url, const std::string& api_url,
                                      std::optional<Duration> ttl) = 0;
};

}  // namespace pgvigil::agent
