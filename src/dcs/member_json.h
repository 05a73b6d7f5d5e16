// The JSON texts under Patroni's keys. Writing: compact, fields in Patroni's order, non-ASCII escaped. Reading: any
// spacing and order; what cannot be read counts as absent and never is an error.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/cluster_view.h"
#include "model/member.h"

namespace pgvigil::dcs {

std::string member_to_json(const Member& member);
std::string status_to_json(const ClusterStatus& status);
std::string history_to_json(const std::vector<HistoryEntry>& history);
std::string config_history_to_json(const std::vector<ConfigChange>& history);
std::string crash_to_json(const CrashNote& note);
std::string drain_to_json(const DrainRequest& request);
std::string pooler_to_json(const Pooler& pooler);
std::string drain_note_to_json(const DrainNote& note);
std::string failsafe_to_json(const std::map<std::string, std::string>& members);
// The body of POST /failsafe; `ttl` is ours, in milliseconds.
std::string failsafe_ping_to_json(const MemberName& name, const std::string& conn_url, const std::string& api_url,
                                  Duration ttl);
std::string sync_to_json(const SyncKey& sync);
std::string failover_to_json(const FailoverRequest& request);

// `value` as stored under members/<name>; lease and mod_revision are left to the caller.
Member parse_member(const MemberName& name, const std::string& value);
ClusterStatus parse_status(const std::string& value);
std::vector<HistoryEntry> parse_history(const std::string& value);
std::vector<ConfigChange> parse_config_history(const std::string& value);
std::optional<CrashNote> parse_crash(const std::string& value);  // empty: not one
// Empty: the value names no request, and asks for nothing.
std::optional<DrainRequest> parse_drain(const std::string& value);
// Whoever has a key counts as a pooler, whatever its value says.
Pooler parse_pooler(const std::string& name, const std::string& value);
std::optional<DrainNote> parse_drain_note(const std::string& value);  // empty: not one
SyncKey parse_sync(const std::string& value);
// Empty: the value names nobody, which counts as no request. Also reads "leader:candidate".
std::optional<FailoverRequest> parse_failover(const std::string& value);
std::map<std::string, std::string> parse_failsafe(const std::string& value);

// The tags that decisions look at, from a JSON object; anything else gives the defaults.
Tags parse_tags(const std::string& json);

}  // namespace pgvigil::dcs
