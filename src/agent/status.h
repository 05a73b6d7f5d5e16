// What the REST API and `/metrics` read of the agent: a snapshot, replaced after every step of the agent.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/time.h"
#include "model/cluster_view.h"
#include "model/decision.h"
#include "model/instance.h"
#include "model/member.h"

namespace pgvigil::agent {

struct AgentStatus {
  std::string scope;
  MemberName name;
  std::shared_ptr<const ClusterView> view;  // null before etcd was read once
  Instance instance;
  Role role = Role::Uninitialized;  // the agent's view of the role, used when SQL fails
  InstanceState state = InstanceState::Stopped;
  TimePoint leader_until;  // the leader flag of the health checks holds until here (lease proof)
  std::optional<WallTime> dcs_last_seen;
  bool dcs_fresh = false;  // the DCS view is younger than ttl
  std::string operation;   // "creating replica", ... empty: none is under way
  std::string progress;    // of the operation
  std::string problem;     // what keeps a replica from streaming
  TimePoint next_step_by;  // when the agent steps again at the latest (liveness)
  bool paused = false;
  bool failsafe_active = false;
  bool watchdog_failed = false;
  Tags tags;
  std::string raw_tags;  // JSON object text of the effective tags, or empty
  std::optional<RestartRequest> scheduled_restart;
  Decision last_decision;
  std::map<std::string, std::uint64_t> decisions;  // since the agent's start, by rule
  std::optional<bool> guard_armed;
};

}  // namespace pgvigil::agent
