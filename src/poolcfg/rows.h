// Every setting of [pgbouncer] once: kind, place in Settings, default, bounds, reload behaviour, and the sentence that
// documents it. The table drives reading, SET, SHOW CONFIG, reloads and the reference page.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "poolcfg/misfit.h"
#include "poolcfg/settings.h"

namespace pgvigil::poolcfg {

using Field = std::variant<int*, std::uint32_t*, std::string*, Micros*, std::vector<std::string>*, PoolMode*, AuthType*,
                           SslMode*>;

enum class Kind : std::uint8_t {
  Text,
  File,
  List,     // separated by commas
  Integer,  // base 0
  Limit,    // integer, a size or a number of things; what is below 0 is taken as 0
  Switch,   // integer, 0: off, else on
  Seconds,
  Choice,  // an enumeration, or a text with `choices`
};

enum class Reload : std::uint8_t {
  Live,
  Start,  // read at the start only; a reload and SET keep what runs
};

struct Row {
  std::string_view group;  // empty: the one of the row before
  std::string_view key;
  Kind kind = Kind::Text;
  Field (*field)(Settings&) = nullptr;            // null: accepted without effect
  std::optional<std::string_view> fallback = "";  // as SHOW CONFIG prints it; nothing: NULL
  Reload reload = Reload::Live;
  std::string_view doc;
  std::int64_t min = 0, max = std::numeric_limits<int>::max();
  std::string_view choices = {};  // for Choice on a text: separated by '|'
  // What only a use of the value finds wrong: asked at SET, and at a load if the value is in use.
  std::optional<Misfit> (*check)(std::string_view) = nullptr;
  bool own = false;  // pgvigil's; PgBouncer refuses it
};

std::span<const Row> rows();
const Row* find_row(std::string_view key);
std::vector<std::string_view> row_keys();

// The value, or why not. `notice`: what was taken otherwise than written; may be empty.
Parsed<std::string> assign(const Row& row, Settings& settings, std::string_view value);
// As SHOW CONFIG prints it.
std::string value_text(const Row& row, Settings& settings);
void copy_value(const Row& row, Settings& from, Settings& to);
// Every row with a default gets it and leaves `written`. Returns the keys that had been written.
std::vector<std::string> to_defaults(Settings& settings, std::set<std::string, std::less<>>& written);

std::optional<Misfit> check_tls_protocols(std::string_view value);
std::optional<Misfit> check_dhe_params(std::string_view value);
std::optional<Misfit> check_auth_dbname(std::string_view value);

}  // namespace pgvigil::poolcfg
