// What a running server will only obey after a restart, and what a standby runs with now.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "model/member.h"
#include "postgres/local_session.h"

namespace pgvigil::postgres {

// A setting's text as an operator would write it: "16384" with unit "8kB" is "128MB"; numbers with a unit of their own
// are brought to the largest unit that fits; booleans become on or off; other text stays.
std::string readable_value(std::string_view value, std::string_view vartype, std::string_view unit);

// Names with the running and the configured value: the SQL as one statement of a batch, and how to read its rows.
// Settings that the recovery part governs are left out.
std::string pending_restart_sql();
std::map<std::string, PendingChange> pending_restart_of(const QueryResult& rows);

// The recovery settings that the running standby obeys.
struct RunningRecovery {
  std::map<std::string, std::string> settings;  // name -> current value, of those the server version knows
  std::string receiver_conninfo;                // of the live WAL receiver; empty: none
  std::string receiver_slot;
};
Task<Result<RunningRecovery>> read_recovery_settings(LocalSession& session, TimePoint deadline);

enum class RecoveryChange : std::uint8_t { None, Reload, Restart };
// What it takes to make the running standby obey `wanted` (ServerSettings::recovery). A live WAL receiver's connection
// counts more than the file's text. Version 13: restore_command needs a restart; from 14 on nothing does.
RecoveryChange compare_recovery(const RunningRecovery& running, const std::map<std::string, std::string>& wanted,
                                int server_version);

}  // namespace pgvigil::postgres
