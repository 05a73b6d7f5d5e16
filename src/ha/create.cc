// A node without a data directory: create the cluster, or a replica of it.
#include "ha/situation.h"

namespace pgvigil::ha {
namespace {

// Where to clone from: a running member that offers itself by the tag `clonefrom`, so that the leader is spared, else
// the leader. Among several the name decides, so that two new nodes do not always choose the same one.
MemberName clone_source(const Situation& at) {
  std::vector<const Member*> offers;
  for (const auto& member : at.view.members) {
    if (member.tags.clonefrom && member.state == InstanceState::Running && !member.conn_url.empty() &&
        !at.is_me(member.name) && !at.view.led_by(member.name)) {
      offers.push_back(&member);
    }
  }
  if (offers.empty()) return at.view.leader->name;
  std::size_t sum = 0;
  for (const char c : at.self.name.text()) sum = sum * 31 + static_cast<unsigned char>(c);
  return offers[sum % offers.size()]->name;
}

Decision create_cluster(const Situation& at) {
  if (at.self.tags.nofailover) {
    return answer(Action::None, "wait_bootstrap", "a member with the tag nofailover does not create the cluster");
  }
  if (!at.self.may_bootstrap) {
    return answer(Action::None, "wait_bootstrap",
                  "waiting for another member to create the cluster (there is no bootstrap section here)");
  }
  return answer(Action::ClaimInitialize, "claim_initialize", "the cluster does not exist yet: racing to create it");
}

}  // namespace

Decision create(const Situation& at) {
  if (at.own_lock()) {
    return answer(Action::ReleaseLeader, "no_data", "this member holds the leader key and has no data directory");
  }
  if (at.instance.data_directory == DataDirectory::Unreadable) {
    return answer(Action::None, "data_unreadable",
                  "the data directory cannot be read; look at its owner and mode, and at the disk");
  }
  if (at.self.retry_at && at.now < *at.self.retry_at) {
    return answer(Action::None, "backoff", "the last attempt to create the data directory failed; waiting a little");
  }
  if (at.locked()) {
    const auto source = clone_source(at);
    return answer(Action::Clone, "clone", fmt::format("creating a replica from {}", source.text()), source);
  }
  if (!at.view.initialize) return create_cluster(at);
  if (at.self.initialize_is_mine) {
    return answer(Action::Bootstrap, "bootstrap", "this member won the race to create the cluster");
  }
  // A claim of ours whose confirmation was lost, or whoever claimed the right to create the cluster is gone.
  const bool abandoned = !at.view.bootstrap_owner.empty() && !at.view.bootstrap_alive;
  if (at.view.initialize->empty() && (at.is_me(at.view.bootstrap_owner) || abandoned)) return create_cluster(at);
  if (at.view.initialize->empty()) {
    return answer(Action::None, "wait_bootstrap", "another member creates the cluster");
  }
  if (at.self.clones_without_leader) {
    return answer(Action::Clone, "clone_without_leader", "creating a replica by a method that needs no leader");
  }
  return answer(Action::None, "wait_leader", "no data directory, and no leader to copy from");
}

}  // namespace pgvigil::ha
