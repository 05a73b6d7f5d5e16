// The port to the other members' REST APIs. Implemented by api/peer_client.h and by the simulator.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "model/ids.h"
#include "model/lsn.h"
#include "model/member.h"

namespace pgvigil::agent {

struct PeerReport {           // the parts of GET <api_url> that a race reads
  MemberName name;
  bool running_as_primary = false;  // xlog.location present, or role primary/master
  Role role = Role::Uninitialized;
  std::string state;
  Lsn wal_end;                // max(received, replayed), or location of a primary
  Timeline timeline;
  Tags tags;
  bool watchdog_failed = false;
  SystemId system_id;
};

class Peers {
 public:
  virtual ~Peers() = default;
  // Error Unavailable or Timeout: no answer. An answer that cannot be read counts as no answer.
  virtual Task<Result<PeerReport>> ask(MemberName name, std::string api_url, TimePoint deadline) = 0;
  // POST /failsafe. True: status 200 and exactly "Accepted".
  virtual Task<Result<bool>> post_failsafe(std::string api_url, std::string body, TimePoint deadline) = 0;
};

}  // namespace pgvigil::agent
