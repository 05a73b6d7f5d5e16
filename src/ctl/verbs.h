// The verbs. Each prints to standard output and throws CommandError for what ends it. Names as patronictl has them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ctl/cluster_table.h"
#include "ctl/context.h"

namespace pgvigil::ctl {

// --- show.cc ---
void list(Context& context, const ListOptions& options, bool timestamp, std::optional<double> watch);
void history(Context& context, bool of_config, Format format);
void show_config(Context& context);
void dsn(Context& context, const std::string& role, const std::string& member);
void member_versions(Context& context, const std::vector<std::string>& members);

// --- move.cc ---
struct MoveOptions {
  std::string leader, candidate, scheduled;
  bool force = false;
};
void switchover(Context& context, MoveOptions options);
void failover(Context& context, MoveOptions options);

// --- members.cc ---
struct MemberOptions {
  std::vector<std::string> members;
  std::string role = "any", scheduled, pg_version, timeout;
  bool force = false, any = false, pending = false, rolling = false, from_leader = false, wait = false;
};
void restart(Context& context, MemberOptions options);
void reload(Context& context, const MemberOptions& options);
void reinit(Context& context, const MemberOptions& options);
void flush(Context& context, const MemberOptions& options, const std::string& what);

// --- rolling.cc ---
void rolling_restart(Context& context, const MemberOptions& options);

// --- drill.cc ---
struct DrillOptions {
  std::string username, password, dbname = "postgres", pooler;
  bool ask_password = false, force = false, json = false;
};
void drill(Context& context, DrillOptions options);

// --- change.cc ---
struct EditOptions {
  std::vector<std::string> set, parameters;
  std::string apply, replace;  // file or "-"
  bool quiet = false, force = false;
};
void edit_config(Context& context, const EditOptions& options);
void set_pause(Context& context, bool pause, bool wait);
void remove(Context& context);

// --- standby_cluster.cc ---
struct DemoteOptions {
  std::string host, restore_command, primary_slot_name;
  int port = 0;
  bool force = false;
};
void demote_cluster(Context& context, const DemoteOptions& options);
void promote_cluster(Context& context, bool force);

// --- query.cc ---
struct QueryOptions {
  std::string command, file, username, password, dbname, role, member, delimiter = "\t";
  Format format = Format::Tsv;
  bool ask_password = false;
};
void query(Context& context, QueryOptions options, std::optional<double> watch);

// --- prompt.cc ---
bool confirmed(const std::string& question);  // [y/N]
std::string prompt(const std::string& question, const std::string& fallback);
// Members by role and name, the leader first; throws when a name is no member.
std::vector<const Member*> select(const ClusterView& view, const std::string& role,
                                  const std::vector<std::string>& names);
// A time with an offset, as requests need it: without a zone in `text` it is this machine's. Empty for "now" and "".
// Throws for what is no time.
std::string schedule_of(const std::string& text);
std::string example_time();  // in an hour, for prompts
std::string now_text();      // YYYY-MM-DD HH:MM:SS

}  // namespace pgvigil::ctl
