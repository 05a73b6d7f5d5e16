// The cluster that the pooler follows, on the control thread: tells workers of each change, ends what a past reign has
// left, and holds the leader's clients back when its agent asks for it (docs/cluster-pooling.md).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "netio/loop.h"
#include "pool/cluster_follower.h"
#include "pool/pooler.h"

namespace pgvigil::pool {

class ClusterControl {
 public:
  ClusterControl(netio::Loop& loop, Pooler& pooler) : loop_(loop), pooler_(pooler) {}
  ~ClusterControl();
  ClusterControl(const ClusterControl&) = delete;
  ClusterControl& operator=(const ClusterControl&) = delete;

  Result<void> start(const StartFollower& start_follower, const poolcfg::ClusterSection& section);
  void stop() { follower_.reset(); }  // takes the pooler's key away
  void adopt(ClusterState state);

 private:
  static constexpr Duration kLook = std::chrono::milliseconds(5);
  static constexpr Duration kLookDrained = std::chrono::milliseconds(100);
  // A pooler that lost etcd cannot see that the request is over.
  static constexpr Duration kGrace = std::chrono::seconds(10);

  struct Draining {
    PoolerDrain report;
    TimePoint hold_until;  // once etcd is lost
    bool over = false;     // handed out again although the request still stands
  };

  void note_reign(const ClusterState& state);
  void note_drain(const ClusterState& state);
  [[nodiscard]] bool holds() const;
  void tell_workers();
  void look_soon();
  void look();
  void ask_workers(bool end_idle_sessions);
  void looked(std::uint64_t active, std::uint64_t waiting);

  netio::Loop& loop_;
  Pooler& pooler_;
  std::unique_ptr<ClusterFollower> follower_;
  std::optional<ClusterState> state_;
  std::optional<Draining> draining_;
  std::optional<netio::Loop::TimerId> timer_;
  bool asked_workers_ = false;
  Duration reported_ago_{0};
};

}  // namespace pgvigil::pool
