// [users] and [peers].
#include <fmt/format.h>

#include "poolcfg/pair_values.h"
#include "poolcfg/sections.h"

namespace pgvigil::poolcfg {
namespace {

using User = UserEntry;
constexpr std::size_t kLongestName = 127;

constexpr PairRow<User> kUserRows[] = {
    {"pool_size", "number", "inherited", "Server connections of each pool of this user; 0 is no limit, -1 inherits.",
     take_count<User, &User::pool_size, 0>},
    {"reserve_pool_size", "number", "inherited", "Additional server connections; -1 inherits.",
     take_count<User, &User::reserve_pool_size, 0>},
    {"pool_mode", "session, transaction or statement", "inherited", "When a server connection goes back to its pool.",
     take_mode<User, &User::pool_mode>},
    {"max_user_connections", "number", "inherited", "Server connections over all databases; 0 inherits.",
     take_count<User, &User::max_user_connections, 1>},
    {"max_user_client_connections", "number", "inherited", "Client connections; 0 inherits.",
     take_count<User, &User::max_user_client_connections, 1>},
    {"query_timeout", "seconds", "inherited", "How long a query may run; 0 inherits.",
     take_time<User, &User::query_timeout>},
    {"query_wait_timeout", "seconds", "inherited", "How long a client waits for a server connection; 0 is no limit.",
     take_time_or_off<User, &User::query_wait_timeout>},
    {"idle_transaction_timeout", "seconds", "inherited", "How long a transaction may be idle; 0 inherits.",
     take_time<User, &User::idle_transaction_timeout>},
    {"transaction_timeout", "seconds", "inherited", "How long a transaction may take; 0 inherits.",
     take_time<User, &User::transaction_timeout>},
    {"client_idle_timeout", "seconds", "inherited", "How long a client may be silent; 0 inherits.",
     take_time<User, &User::client_idle_timeout>},
};

constexpr PairRow<PeerEntry> kPeerRows[] = {
    {"host", "text", "none: required", "Name, address or directory of the Unix socket of the other process.",
     take_text<PeerEntry, &PeerEntry::host>},
    {"port", "number", "6432", "Its port.", take_port<PeerEntry, &PeerEntry::port>},
    {"pool_size", "number", "default_pool_size", "Cancel requests that are forwarded to it at the same time.",
     take_count<PeerEntry, &PeerEntry::pool_size, 0>},
};

}  // namespace

std::span<const PairRow<UserEntry>> user_rows() { return kUserRows; }
std::span<const PairRow<PeerEntry>> peer_rows() { return kPeerRows; }

Result<void> take_user(Loading& loading, const IniEntry& entry) {
  if (entry.key.size() > kLongestName) {
    return refused_key(entry.where, entry.key, {"the name is longer than 127 bytes", "is it a user's name?"});
  }
  User user;
  user.name = entry.key;
  PGV_TRY_VOID(take_pairs(loading, entry, user_rows(), user));
  const auto [earlier, first] = loading.users_at.try_emplace(user.name, entry.where);
  if (!first) {
    loading.warn(entry.where, fmt::format("user {} stands also at {}: this later line counts", shown(entry.key),
                                          earlier->second.text()));
    earlier->second = entry.where;
  }
  loading.config.users.insert_or_assign(user.name, std::move(user));
  return {};
}

Result<void> take_peer(Loading& loading, const IniEntry& entry) {
  const auto id = parse_integer(entry.key, 10, 1, 65535);
  if (!id) {
    return refused_key(entry.where, entry.key,
                       {"is not the number of a peer", "valid: 1 to 65535, each peer's peer_id"});
  }
  PeerEntry peer;
  peer.id = static_cast<int>(*id);
  PGV_TRY_VOID(take_pairs(loading, entry, peer_rows(), peer));
  if (peer.host.empty()) {
    return refused_key(entry.where, entry.key,
                       {"the peer has no host", "write ID = host=NAME [port=6432] [pool_size=N]"});
  }
  const auto [earlier, first] = loading.peers_at.try_emplace(peer.id, entry.where);
  if (!first) {
    loading.warn(entry.where,
                 fmt::format("peer {} stands also at {}: this later line counts", peer.id, earlier->second.text()));
    earlier->second = entry.where;
  }
  loading.config.peers.insert_or_assign(peer.id, peer);
  return {};
}

}  // namespace pgvigil::poolcfg
