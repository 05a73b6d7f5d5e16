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
void history(Context& context, Format format);
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
  bool force = false, any = false, pending = false, from_leader = false, wait = false;
};
void restart(Context& context, const MemberOptions& options);
void reload(Context& context, const MemberOptions& options);
void reinit(Context& context, const MemberOptions& options);
void flush(Context& context, const MemberOptions& options, const std::string& what);

// --- change.cc ---
struct EditOptions {
  std::vector<std::string> set, parameters;
  std::string apply, replace;  // file or "-"
  bool quiet = false, force = false;
};
void edit_config(Context& context, const EditOptions& options);
void set_pause(Context& context, bool pause, bool wait);
void remove(Context& context);

// --- prompt.cc ---
bool confirmed(const std::string& question);  // [y/N]
std::string prompt(const std::string& question, const std::string& fallback);
std::string yaml_of(const std::string& json);  // keys sorted
// Members by role and name, the leader first; throws when a name is no member.
std::vector<const Member*> select(const ClusterView& view, const std::string& role,
                                  const std::vector<std::string>& names);
std::string now_text();  // YYYY-MM-DD HH:MM:SS

}  // namespace pgvigil::ctl
