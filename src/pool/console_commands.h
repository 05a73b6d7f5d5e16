// What the console's commands do.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "pool/console_parser.h"
#include "pool/console_reply.h"
#include "pool/control.h"
#include "pool/snapshot.h"

namespace pgvigil::pool {

// Who asks, and what only the console itself knows.
struct ConsoleCaller {
  bool admin = false;                              // else: SHOW only
  std::function<void(Snapshot&)> add_sessions;     // the console's sessions are clients too
  std::function<bool(std::uint64_t id)> kill_own;  // false: no session of the console
};

// The columns that a command answers with, before it runs; null: none.
const Columns* result_columns(const ConsoleCommand& command);

// `text`: the command as it was written, for the error. `done` runs once, now or later, on the control thread.
void run_console_command(Control& control, const ConsoleCaller& caller, const ConsoleCommand& command,
                         std::string_view text, const ReplyTo& done);

}  // namespace pgvigil::pool
