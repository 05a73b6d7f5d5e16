#include "ha/sync.h"

#include <algorithm>
#include <iterator>

#include "ha/situation.h"

namespace pgvigil::ha {
namespace {

using Names = std::vector<MemberName>;  // sorted, without repetitions

Names sorted(Names names) {
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}
Names united(const Names& a, const Names& b) {
  Names all;
  std::set_union(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(all));
  return all;
}
bool contains(const Names& names, const MemberName& name) {
  return std::binary_search(names.begin(), names.end(), name);
}
std::uint32_t size(const Names& names) { return static_cast<std::uint32_t>(names.size()); }

bool is_on(const ClusterView& view) {
  return view.settings.synchronous_mode != SyncMode::Off && !view.settings.standby_cluster;
}
bool is_quorum(const ClusterView& view) { return view.settings.synchronous_mode == SyncMode::Quorum; }

// Nobody is named. Strict: commits wait until somebody connects; otherwise they go on alone.
SyncNames nobody(const ClusterSettings& settings) {
  SyncNames names;
  names.quorum = settings.synchronous_mode == SyncMode::Quorum;
  names.anybody = settings.synchronous_mode_strict;
  names.count = settings.synchronous_mode_strict ? 1 : 0;
  if (!names.anybody) names.quorum = false;
  return names;
}

SyncNames names_of(const ClusterSettings& settings, Names members, std::uint32_t count) {
  if (members.empty() || count == 0) return nobody(settings);
  SyncNames names;
  names.quorum = settings.synchronous_mode == SyncMode::Quorum;
  names.names = std::move(members);
  names.count = count;
  return names;
}

struct Standby {
  MemberName name;
  Lsn position;  // as synchronous_commit counts
  bool is_synchronous = false;
  const Member* member = nullptr;
};

Lsn position_of(const WalSender& sender, const std::string& synchronous_commit) {
  if (synchronous_commit == "remote_apply") return sender.replayed;
  return synchronous_commit == "remote_write" ? sender.written : sender.flushed;
}

// The members that stream from here and may be synchronous, the best first.
std::vector<Standby> eligible(const ClusterView& view, const LocalState& self) {
  std::vector<Standby> found;
  Lsn best;
  for (const auto& sender : self.instance.wal_senders) {
    const MemberName name(sender.application_name);
    const auto* member = view.member(name);
    if (sender.state != "streaming" || member == nullptr || name == self.name) continue;
    if (member->state != InstanceState::Running || member->tags.nosync || member->tags.sync_priority <= 0) continue;
    const bool known = std::any_of(found.begin(), found.end(), [&](const Standby& s) { return s.name == name; });
    if (known) continue;  // two walsenders of one name: PostgreSQL would count them as one
    const Lsn position = position_of(sender, self.instance.synchronous_commit);
    best = std::max(best, position);
    found.push_back({name, position, sender.sync_state == "sync" || sender.sync_state == "quorum", member});
  }
  if (const auto limit = view.settings.maximum_lag_on_syncnode; limit > WalBytes{0}) {
    if (found.size() == 1) best = std::max(best, self.instance.flushed);
    std::erase_if(found, [&](const Standby& s) { return best > s.position && best - s.position > limit; });
  }
  std::stable_sort(found.begin(), found.end(), [](const Standby& a, const Standby& b) {
    const auto rank = [](const Standby& s) {
      return std::make_tuple(s.member->tags.nofailover, -s.member->tags.sync_priority, !s.is_synchronous);
    };
    if (rank(a) != rank(b)) return rank(a) < rank(b);
    return a.position != b.position ? a.position > b.position : a.name < b.name;
  });
  return found;
}

struct Wanted {
  Names names;
  std::uint32_t count = 0;
};

Wanted wanted(const ClusterView& view, const std::vector<Standby>& standbys) {
  Wanted want;
  const auto count = view.settings.synchronous_node_count;
  for (const auto& standby : standbys) {
    const bool enough = want.names.size() >= count;
    // In quorum mode all that can are counted, since whoever is first answers for all. One that may not lead is of use
    // only while there are too few others.
    if (enough && (!is_quorum(view) || standby.member->tags.nofailover)) continue;
    want.names.push_back(standby.name);
  }
  want.names = sorted(std::move(want.names));
  want.count = std::min(count, size(want.names));
  return want;
}

SyncStep write_key(const MemberName& leader, Names voters, std::uint32_t quorum) {
  SyncStep step;
  step.kind = SyncStep::Kind::WriteKey;
  step.key.leader = leader;
  step.key.standbys = std::move(voters);
  step.key.quorum = quorum;
  return step;
}
SyncStep set_names(std::optional<SyncNames> names) {
  SyncStep step;
  step.kind = SyncStep::Kind::SetNames;
  step.names = std::move(names);
  return step;
}
SyncStep wait() {
  SyncStep step;
  step.kind = SyncStep::Kind::Wait;
  return step;
}

// Commits wait for `in_force`; the key says something else than is wanted, and the setting is as it is wanted.
SyncStep confirm(const ClusterView& view, const LocalState& self, const Wanted& want,
                 const std::vector<Standby>& standbys, const Names& voters) {
  const auto& key = view.sync;
  const bool quorum = is_quorum(view);
  const std::uint32_t ideal = quorum ? size(want.names) - want.count : 0;
  if (voters == want.names && key.quorum == ideal) return {};
  // A commit of before the setting was in force may have waited for others, or for nobody. Only who holds all of those
  // counts; who is in the key already has been counted.
  Names confirmed;
  for (const auto& standby : standbys) {
    const bool caught_up = self.sync_sample.known() && standby.position >= self.sync_sample && standby.is_synchronous;
    const bool counted = !quorum && key.quorum == 0 && contains(voters, standby.name);
    if (contains(want.names, standby.name) && (caught_up || counted)) confirmed.push_back(standby.name);
  }
  confirmed = sorted(std::move(confirmed));
  if (!quorum) {
    return confirmed == voters && key.quorum == 0 ? wait() : write_key(self.name, confirmed, 0);
  }
  const std::uint32_t least = size(want.names) - std::min(want.count, size(confirmed));
  // Until they have caught up the old voters, more of them, stay: the key never says more than is known.
  if (confirmed.size() < want.count && voters == want.names && key.quorum <= least) return wait();
  if (confirmed.empty() && !want.names.empty()) return wait();
  return write_key(self.name, want.names, least);
}

// The key's leader is not this member yet. In quorum mode whoever led before is a voter from now on: of any commit that
// he acknowledged he and |V| - q voters have a copy, one of whom may be this member, so all but q of the new voters.
SyncStep take_key(const ClusterView& view, const LocalState& self) {
  const auto& key = view.sync;
  if (!is_quorum(view) || key.leader.empty()) return write_key(self.name, {}, 0);
  Names voters = sorted(key.standbys);
  std::erase(voters, self.name);
  voters = united(voters, {key.leader});
  return write_key(self.name, voters, key.quorum);
}

}  // namespace

SyncStep next_sync_step(const ClusterView& view, const LocalState& self) {
  const SyncNames now = parse_sync_names(self.instance.synchronous_standby_names);
  if (!is_on(view)) {
    SyncStep step;
    if (view.sync.mod_revision.value() != 0) {
      step.kind = SyncStep::Kind::DeleteKey;
      return step;
    }
    return set_names(std::nullopt);
  }
  if (view.sync.leader != self.name) return take_key(view, self);
  const auto standbys = eligible(view, self);
  const Wanted want = wanted(view, standbys);
  const SyncNames target = names_of(view.settings, want.names, want.count);
  const Names voters = sorted(view.sync.standbys);
  if (now == target) return confirm(view, self, want, standbys, voters);
  // Promises are given by names only: with "*" whoever connects is waited for, and nobody is a voter for it.
  const std::uint32_t held = now.anybody ? 0 : now.count, holds = target.anybody ? 0 : target.count;
  if (view.sync.quorum + holds >= size(united(voters, target.names))) return set_names(target);
  // The key has to change first, and has to fit both what is in force and what was acknowledged under the old key: of
  // any commit all but q of the voters have a copy.
  const std::uint32_t q = view.sync.quorum;
  if (!is_quorum(view)) {
    Names kept;
    std::set_intersection(voters.begin(), voters.end(), want.names.begin(), want.names.end(), std::back_inserter(kept));
    const auto both = size(united(kept, now.names));
    return write_key(self.name, kept, std::max(both - std::min(both, held), std::min(q, size(kept))));
  }
  const Names all = united(united(voters, now.names), target.names);
  return write_key(self.name, all, std::max(size(all) - std::min(held, holds), q + size(all) - size(voters)));
}

SyncTakeover sync_takeover(const ClusterView& view, const LocalState& self) {
  SyncTakeover takeover;
  if (!is_on(view)) {
    takeover.delete_key = view.sync.mod_revision.value() != 0;
    return takeover;
  }
  ClusterView taken = view;
  if (view.sync.leader != self.name) {
    // Patroni leaves the key alone in quorum mode until the promotion is over. Then a member that dies right after it
    // leaves a key by which its predecessor, who lacks its commits, may lead.
    takeover.key = take_key(view, self).key;
    taken.sync = *takeover.key;
  }
  takeover.names = sync_names_at_start(taken, self.name);
  return takeover;
}

std::optional<SyncNames> sync_names_at_start(const ClusterView& view, const MemberName& self) {
  if (!is_on(view)) return std::nullopt;
  const auto& key = view.sync;
  if (key.leader != self) return nobody(view.settings);
  const Names voters = sorted(key.standbys);
  if (!is_quorum(view)) return names_of(view.settings, voters, size(voters));
  std::uint32_t count = size(voters) > key.quorum ? size(voters) - key.quorum : 0;
  if (view.settings.synchronous_mode_strict && !voters.empty()) count = std::max(count, 1U);
  return names_of(view.settings, voters, count);
}

}  // namespace pgvigil::ha
