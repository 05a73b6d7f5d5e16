#include "api/observed.h"

#include <algorithm>

namespace pgvigil::api {

const ClusterSettings& Observed::settings() const {
  static const ClusterSettings kDefaults;
  return status->view ? status->view->settings : kDefaults;
}

bool Observed::sql_worked() const {
  const bool may_answer = status->state == InstanceState::Running || status->state == InstanceState::Restarting ||
                          status->state == InstanceState::Starting;
  return may_answer && instance.postmaster == PostmasterState::Running;
}

std::string Observed::state() const {
  if (status->state == InstanceState::Running && !sql_worked()) return "unknown";
  return std::string(to_string(status->state));
}

std::string Observed::role() const {
  if (!sql_worked()) return std::string(to_string(status->role));
  if (!instance.in_recovery) return "primary";
  // Only the agent knows which of the standbys leads a standby cluster.
  return standby_cluster() ? std::string(to_string(status->role)) : "replica";
}

bool Observed::listed_as_sync() const {
  if (!sql_worked() || role() != "replica" || settings().synchronous_mode == SyncMode::Off || view() == nullptr) {
    return false;
  }
  const auto& sync = view()->sync;
  return std::find(sync.standbys.begin(), sync.standbys.end(), status->name) != sync.standbys.end();
}

bool Observed::sync_standby() const { return settings().synchronous_mode == SyncMode::On && listed_as_sync(); }

bool Observed::quorum_standby() const { return settings().synchronous_mode == SyncMode::Quorum && listed_as_sync(); }

bool Observed::unlocked() const { return view() == nullptr || !view()->leader; }

}  // namespace pgvigil::api
