#include "model/lsn.h"

#include <fmt/format.h>

#include <charconv>

namespace pgvigil {

std::string to_string(Lsn lsn) { return fmt::format("{:X}/{:X}", lsn.value() >> 32, lsn.value() & 0xFFFFFFFFU); }

std::optional<Lsn> parse_lsn(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  auto half = [](std::string_view part) -> std::optional<std::uint32_t> {
    std::uint32_t value = 0;
    const auto* end = part.data() + part.size();
    const auto [stop, error] = std::from_chars(part.data(), end, value, 16);
    if (part.empty() || error != std::errc() || stop != end) return std::nullopt;
    return value;
  };
  const auto high = half(text.substr(0, slash));
  const auto low = half(text.substr(slash + 1));
  if (!high || !low) return std::nullopt;
  return Lsn(static_cast<std::uint64_t>(*high) << 32 | *low);
}

}  // namespace pgvigil
