// What the agent needs to know of its own node beyond the ports: who it is, and how its configuration reacts.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "base/error.h"
#include "model/ids.h"
#include "model/member.h"
#include "model/settings.h"

namespace pgvigil::agent {

// Implemented over config/ in production and by the simulator.
class Node {
 public:
  virtual ~Node() = default;
  [[nodiscard]] virtual MemberName name() const = 0;
  [[nodiscard]] virtual std::string scope() const = 0;
  [[nodiscard]] virtual Tags tags() const = 0;
  [[nodiscard]] virtual std::string raw_tags() const = 0;
  [[nodiscard]] virtual std::string conn_url() const = 0;
  [[nodiscard]] virtual std::string api_url() const = 0;
  [[nodiscard]] virtual std::string proxy_url() const = 0;         // empty: none
  [[nodiscard]] virtual std::string version() const = 0;           // as published for Patroni peers: dotted integers
  [[nodiscard]] virtual bool may_bootstrap() const = 0;            // there is a bootstrap section
  [[nodiscard]] virtual std::string bootstrap_config() const = 0;  // JSON for the `config` key of a new cluster
  [[nodiscard]] virtual bool clones_without_leader() const {
    return false;
  }  // some create_replica_method has no_leader
  // The `standby_cluster` section of a cluster that is still to be created.
  [[nodiscard]] virtual std::optional<StandbyCluster> bootstrap_standby_cluster() const { return std::nullopt; }
  [[nodiscard]] virtual std::string cached_config() const = 0;  // the last dynamic configuration seen, or empty
  // Adopts a new dynamic configuration (JSON text). Returns whether anything that PostgreSQL sees has changed, so that
  // a reload is due. Error: unusable; the last good one stays in force.
  virtual Result<bool> adopt_config(const std::string& json) = 0;
  // Re-reads the local file (SIGHUP). Error: unusable; the old one stays in force.
  virtual Result<void> reload_local() = 0;
  [[nodiscard]] virtual std::map<std::string, bool> permanent_physical_slots()
      const = 0;  // name -> wanted on this kind of cluster
};

}  // namespace pgvigil::agent
