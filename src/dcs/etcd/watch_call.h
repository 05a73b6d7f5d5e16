// One watch as a gRPC stream. Inside dcs/etcd only.
#pragma once

#include <memory>
#include <string>

#include "dcs/kv_store.h"

namespace grpc {
class Channel;
}

namespace pgvigil::dcs {

struct WatchTarget {
  std::string key, range_end;
  Revision start;
  std::string token;  // empty: no authentication
};

// `on_ended` runs (on the executor) before handler.on_lost, so that the endpoint can be given up.
std::unique_ptr<Watch> start_watch(Clock& clock, std::shared_ptr<grpc::Channel> channel, WatchTarget target,
                                   WatchHandler handler, std::function<void()> on_ended);

}  // namespace pgvigil::dcs
