// One reading of this node for all replies: the agent's snapshot together with the newest observation of PostgreSQL.
#pragma once

#include <memory>
#include <string>

#include "agent/status.h"
#include "base/time.h"
#include "model/cluster_view.h"
#include "model/instance.h"

namespace pgvigil::api {

struct Observed {
  std::shared_ptr<const agent::AgentStatus> status;  // never null
  Instance instance;                                 // may be newer than status->instance
  TimePoint now;

  // The cluster as etcd told it, if that is not older than ttl; null otherwise.
  [[nodiscard]] const ClusterView* view() const { return status->dcs_fresh ? status->view.get() : nullptr; }
  // Settings outlive the DCS view: the last good ones stay in force.
  [[nodiscard]] const ClusterSettings& settings() const;
  [[nodiscard]] bool paused() const { return status->paused || settings().pause; }
  // PostgreSQL answered, and is in a state in which its answer counts.
  [[nodiscard]] bool sql_worked() const;
  // As the status document spells them; state "unknown": thought running, and did not answer.
  [[nodiscard]] std::string state() const;
  [[nodiscard]] std::string role() const;
  [[nodiscard]] bool running() const { return state() == "running"; }
  [[nodiscard]] bool is_leader() const { return now < status->leader_until; }
  [[nodiscard]] bool standby_cluster() const { return settings().standby_cluster.has_value(); }
  [[nodiscard]] bool sync_standby() const;
  [[nodiscard]] bool quorum_standby() const;
  [[nodiscard]] bool unlocked() const;

 private:
  [[nodiscard]] bool listed_as_sync() const;
};

}  // namespace pgvigil::api
