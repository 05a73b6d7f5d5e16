// The Unix socket of a member that runs on this machine.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "model/ids.h"

namespace pgvigil::follow {

class LocalSockets {
 public:
  // `setting`: auto, off, or a directory. `more`: directories where auto looks besides PostgreSQL's usual ones.
  LocalSockets(std::string setting, std::vector<std::string> more);

  // The directory of the member's socket; empty: it is on another machine, or no socket may be used. With auto only
  // one whose server demonstrably has the cluster's system identifier: another server may have the same port.
  std::string directory(const std::string& host, int port, const SystemId& cluster);

 private:
  bool is_local(const std::string& host);

  std::string setting_;
  std::vector<std::string> directories_;
  std::map<std::string, bool> local_;  // by host: asked once, name servers may be slow
};

// Whether the socket's lock file names a data directory of this system identifier. False also when it cannot be read.
bool belongs_to(const std::string& directory, int port, const SystemId& cluster);

}  // namespace pgvigil::follow
