// Points in wall time as operators and peers write them. ISO 8601 / RFC 3339.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"

namespace pgvigil {

struct Timestamp {
  WallTime at;                                 // taken as UTC when there is no offset
  std::optional<std::chrono::minutes> offset;  // empty: the text named no zone
};

// "2026-01-24T02:13:52.281130+00:00", also with a space for the T, without seconds or fraction, date only, in the basic
// format (20260124T021352Z), and with the zones Z, UTC, GMT, +HH, +HHMM, +HH:MM. Empty: anything else.
std::optional<Timestamp> parse_timestamp(std::string_view text);
// The same, of a text that names its zone: without one it is no instant. Empty: anything else.
std::optional<WallTime> parse_instant(std::string_view text);

// ISO 8601 with offset; microseconds only when there are any.
std::string iso_text(WallTime at, std::chrono::minutes offset);

}  // namespace pgvigil
