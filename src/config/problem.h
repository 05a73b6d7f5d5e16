// What is wrong with a configuration, where, and what would be right: one line each, for an operator.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil::config {

// Where a value was written. `file` is a path, or "environment PATRONI_X", or empty (dynamic configuration).
struct SourceLocation {
  std::string file;
  int line = 0;    // from 1; 0 = not known
  int column = 0;  // from 1; 0 = not known
  friend bool operator==(const SourceLocation&, const SourceLocation&) = default;
};

struct Problem {
  enum class Severity : std::uint8_t { Warning, Error } severity = Severity::Error;
  SourceLocation where;
  std::string path;   // "restapi.listen"; empty: the file as a whole
  std::string value;  // as written; "***" for secrets; empty: none or not of interest
  std::string what;   // "expected host:port"
  std::string valid;  // "for example 0.0.0.0:8008"; may be empty

  // patroni.yml:12: restapi.listen: "abc": expected host:port, for example 0.0.0.0:8008
  [[nodiscard]] std::string message() const;
  friend bool operator==(const Problem&, const Problem&) = default;
};

using Problems = std::vector<Problem>;

bool has_errors(const Problems& problems);

// The candidate that `text` was most likely meant to be: case, '-' and '_' do not count; at most one third of the
// letters may be wrong (insertion, deletion, replacement, swap of neighbours). Nothing when none is near.
std::optional<std::string> nearest_match(std::string_view text, const std::vector<std::string>& candidates);

}  // namespace pgvigil::config
