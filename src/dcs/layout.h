// Names of the keys of one cluster, below its prefix. Patroni's layout; what is ours is ignored by Patroni.
#pragma once

#include <string>
#include <string_view>

namespace pgvigil::dcs {

inline constexpr std::string_view kInitializeKey = "initialize";
inline constexpr std::string_view kLeaderKey = "leader";
inline constexpr std::string_view kConfigKey = "config";
inline constexpr std::string_view kStatusKey = "status";
inline constexpr std::string_view kLegacyOptimeKey = "optime/leader";
inline constexpr std::string_view kFailoverKey = "failover";
inline constexpr std::string_view kSyncKey = "sync";
inline constexpr std::string_view kHistoryKey = "history";
inline constexpr std::string_view kFailsafeKey = "failsafe";
inline constexpr std::string_view kMembersFolder = "members/";
inline constexpr std::string_view kPoolersFolder = "poolers/";  // ours too, and the next
inline constexpr std::string_view kDrainKey = "drain";
inline constexpr std::string_view kExtraFolder = "pgvigil/";
inline constexpr std::string_view kBootstrapKey = "pgvigil/bootstrap";
inline constexpr std::string_view kBootstrapOwnerKey = "pgvigil/bootstrap_owner";
inline constexpr std::string_view kConfigHistoryKey = "pgvigil/config_history";
inline constexpr std::string_view kCrashKey = "pgvigil/crash";
inline constexpr std::string_view kDrainNoteKey = "pgvigil/drain";
inline constexpr std::string_view kTimelineKey = "pgvigil/timeline";

}  // namespace pgvigil::dcs
