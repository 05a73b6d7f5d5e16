// A cluster of three members a, b and c, seen from a, as the rules' tests change it.
#pragma once

#include "ha/decide.h"

namespace pgvigil::ha::test {

inline const MemberName kA("a"), kB("b"), kC("c");
inline constexpr TimePoint kNow{std::chrono::seconds(1000)};
inline const std::string kSystem = "7711555499471225088";

inline Member member(const MemberName& name) {
  Member m;
  m.name = name;
  m.conn_url = "postgres://" + name.text() + ":5432/postgres";
  m.api_url = "http://" + name.text() + ":8008/patroni";
  m.host = name.text();
  m.state = InstanceState::Running;
  m.role = Role::Replica;
  m.timeline = Timeline(2);
  return m;
}

struct World {
  ClusterView view;
  LocalState self;

  World() {
    view.revision = Revision(10);
    view.initialize = kSystem;
    view.members = {member(kA), member(kB), member(kC)};
    view.config = "{}";
    view.history_text = "[[1,100,\"\"]]";
    view.history = {{Timeline(1), Lsn(100), "", "", ""}};
    view.status.optime = Lsn(1000);
    self.name = kA;
    self.lease = LeaseId(7);
    self.can_rewind = true;
    self.rewind = RewindStage::Settled;
    self.rewind_reason = "timeline 1 ends behind the switch point";
    self.role = Role::Replica;
    auto& i = self.instance;
    i.data_directory = DataDirectory::Present;
    i.system_id = SystemId(kSystem);
    i.postmaster = PostmasterState::Running;
    i.postmaster_pid = 42;
    i.in_recovery = true;
    i.standby_configured = true;
    i.timeline = Timeline(2);
    i.received = i.replayed = Lsn(1000);
    i.replication_state = "streaming";
  }

  World& led_by(const MemberName& name) {
    view.leader = LeaderKey{name, Term(Revision(5)), Revision(5), name == kA ? LeaseId(7) : LeaseId(8)};
    for (auto& m : view.members) m.role = m.name == name ? Role::Leader : Role::Replica;
    if (name == kA) self.leader_until = kNow + std::chrono::seconds(20);
    return *this;
  }
  World& as_primary() {
    auto& i = self.instance;
    i.in_recovery = false;
    i.standby_configured = false;
    i.flushed = Lsn(1000);
    i.replication_state.clear();
    self.role = Role::Leader;
    for (const auto& name : {kB, kC}) {
      WalSender sender;
      sender.application_name = name.text();
      sender.state = "streaming";
      i.wal_senders.push_back(sender);
    }
    return *this;
  }
  World& stopped(ControlState state) {
    auto& i = self.instance;
    i.postmaster = PostmasterState::Stopped;
    i.control = ControlData();
    i.control->state = state;
    i.control->timeline = Timeline(2);
    i.control->system_id = SystemId(kSystem);
    self.stopped_since = kNow;
    self.wal_end_sought = true;
    return *this;
  }
  // The answer of a peer at this position; the others have not answered.
  World& peer(const MemberName& name, Lsn position, Timeline timeline = Timeline(2)) {
    PeerReport report;
    report.name = name;
    report.role = Role::Replica;
    report.wal_end = position;
    report.timeline = timeline;
    self.peers.push_back({name, report});
    self.peers_asked = true;
    return *this;
  }
  PeerReport& last_peer() { return *self.peers.back().report; }
  World& asked() {
    self.peers_asked = true;
    return *this;
  }
  [[nodiscard]] Decision decide() const { return ha::decide(view, self, kNow); }
  [[nodiscard]] Action action() const { return decide().action; }
  [[nodiscard]] std::string rule() const { return std::string(decide().rule); }
};

}  // namespace pgvigil::ha::test
