// The reference deployment in one directory: its parts, their ports and files. Pure layout plus the writing of files.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"

namespace pgvigil::app {

struct Part {              // a process of the deployment
  std::string name, kind;  // kind: etcd, agent or pooler
  std::vector<std::string> argv;
  std::vector<std::pair<std::string, std::uint16_t>>
      ports;  // by purpose: client, peer, postgresql, rest, writes, reads
  std::string directory, config, data, log, pid_file;
  [[nodiscard]] std::uint16_t port(const std::string& purpose) const;
};

inline constexpr const char* kDeploymentScope = "lakehouse";

struct Deployment {
  std::string directory;
  std::uint16_t port_offset = 0;
  std::vector<Part> parts;  // in the order in which they are started

  [[nodiscard]] std::string certificates() const { return directory + "/certs"; }
  [[nodiscard]] std::string secrets() const { return directory + "/secrets"; }
};

// Three etcd members, two nodes and the pooler, with the names and ports of the reference plus `port_offset`.
Deployment plan_deployment(const std::string& directory, int port_offset);
std::string etcd_hosts(const Deployment& deployment);  // "localhost:2379, ..."
// Makes directories, passwords, certificates, configurations and cluster.json; what is there stays.
Result<void> write_deployment(const Deployment& deployment);
// 0: it does not run. A pid that was given to another process since is not ours.
pid_t running_pid(const Deployment& deployment, const Part& part);
// From DIR/cluster.json. NotFound: there is none.
Result<Deployment> read_deployment(const std::string& directory);

}  // namespace pgvigil::app
