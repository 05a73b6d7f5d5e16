// The port to the other members' REST APIs. Implemented by api/peer_client.h and by the simulator.
#pragma once

#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "model/ids.h"
#include "model/peer_report.h"

namespace pgvigil::agent {

using pgvigil::PeerReport;

class Peers {
 public:
  virtual ~Peers() = default;
  // Error Unavailable or Timeout: no answer. An answer that cannot be read counts as no answer.
  virtual Task<Result<PeerReport>> ask(MemberName name, std::string api_url, TimePoint deadline) = 0;
  // POST /failsafe. True: status 200 and exactly "Accepted".
  virtual Task<Result<bool>> post_failsafe(std::string api_url, std::string body, TimePoint deadline) = 0;
};

}  // namespace pgvigil::agent
