// Sizes and lengths of time as PostgreSQL writes them: "16MB", "30", "1min". PostgreSQL documentation, "Parameter Names
// and Values".
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace pgvigil::api {

// In bytes. No unit: bytes. Units B, kB, MB, GB, TB. Empty: not a size, or beyond 64 bits.
std::optional<std::int64_t> parse_bytes(std::string_view text);
// In whole seconds, rounded to the nearest. No unit: seconds. Units us, ms, s, min, h, d.
std::optional<std::int64_t> parse_seconds(std::string_view text);

}  // namespace pgvigil::api
