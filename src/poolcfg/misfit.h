// Why a value cannot be used, and what could be: what a parser of one value knows. Whoever knows file and key makes the
// error of it.
#pragma once

#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "base/error.h"

namespace pgvigil::poolcfg {

struct Misfit {
  std::string why;    // "is not a whole number"
  std::string valid;  // "valid: 0 to 65535"
};

template <class T>
using Parsed = tl::expected<T, Misfit>;

inline tl::unexpected<Misfit> misfit(std::string why, std::string valid) {
  return tl::unexpected<Misfit>(Misfit{std::move(why), std::move(valid)});
}

struct Where {
  std::string file;
  int line = 0;
  [[nodiscard]] std::string text() const;  // "pgbouncer.ini:12"
};

// A value as an error may show it: one line, no control characters, not longer than an operator reads.
std::string shown(std::string_view value);
tl::unexpected<Error> refused(const Where& where, std::string_view key, std::string_view value, const Misfit& misfit);
// The same for values that may hold a password.
tl::unexpected<Error> refused_key(const Where& where, std::string_view key, const Misfit& misfit);

// The candidate that was probably meant, if one is near enough.
std::optional<std::string_view> nearest_name(std::string_view text, std::span<const std::string_view> candidates);
// "; did you mean \"x\"? valid: a, b, c" as an unknown name's remedy.
std::string did_you_mean(std::string_view text, std::span<const std::string_view> candidates);

}  // namespace pgvigil::poolcfg
