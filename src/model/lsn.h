// Positions in the write-ahead log. PostgreSQL documentation, "pg_lsn Type" and "Timelines".
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace pgvigil {

enum class WalBytes : std::int64_t {};  // a distance; may be negative

class Lsn {  // a position in the WAL of ONE timeline, in bytes; 0 is PostgreSQL's "invalid" and stands for unknown
 public:
  constexpr Lsn() = default;
  constexpr explicit Lsn(std::uint64_t position) : position_(position) {}

  [[nodiscard]] constexpr std::uint64_t value() const { return position_; }
  [[nodiscard]] constexpr bool known() const { return position_ != 0; }

  friend constexpr auto operator<=>(Lsn, Lsn) = default;
  friend constexpr WalBytes operator-(Lsn ahead, Lsn behind) {
    return WalBytes(static_cast<std::int64_t>(ahead.position_ - behind.position_));
  }

 private:
  std::uint64_t position_ = 0;  // no operator+(Lsn, Lsn): the sum of two positions means nothing
};

class Timeline {  // 0 stands for unknown
 public:
  constexpr Timeline() = default;
  constexpr explicit Timeline(std::uint32_t id) : id_(id) {}
  [[nodiscard]] constexpr std::uint32_t value() const { return id_; }
  [[nodiscard]] constexpr bool known() const { return id_ != 0; }
  friend constexpr auto operator<=>(Timeline, Timeline) = default;

 private:
  std::uint32_t id_ = 0;
};

// PostgreSQL's own spelling, "0/4000060", without zero padding.
std::string to_string(Lsn lsn);
std::optional<Lsn> parse_lsn(std::string_view text);

}  // namespace pgvigil
