// Session parameters that the server reports and the pooler restores (DateStyle, client_encoding, ...). A client and a
// server connection each refer to one immutable set; equal sets are one object, so that the usual comparison before a
// query is one of two pointers.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pgvigil::pool {

// The names that are tracked, fixed at start: PostgreSQL's reported ones of every session, and track_extra_parameters.
class TrackedNames {
 public:
  explicit TrackedNames(const std::vector<std::string>& extra);
  [[nodiscard]] std::optional<std::size_t> find(std::string_view name) const;  // case does not count
  [[nodiscard]] const std::vector<std::string>& all() const { return names_; }

 private:
  std::vector<std::string> names_;
};

class ParameterSet;
using ParameterSetPtr = std::shared_ptr<const ParameterSet>;

class ParameterSet {
 public:
  using Value = std::optional<std::string>;  // nothing: not known; empty is a value
  [[nodiscard]] const Value& at(std::size_t index) const { return values_[index]; }
  [[nodiscard]] std::size_t size() const { return values_.size(); }
  [[nodiscard]] ParameterSetPtr with(std::size_t index, std::string_view value) const;

  // From any thread.
  static ParameterSetPtr intern(std::vector<Value> values);
  static ParameterSetPtr unknown(const TrackedNames& names);

 private:
  explicit ParameterSet(std::vector<Value> values) : values_(std::move(values)) {}
  std::vector<Value> values_;
};

// The SET commands that make a server's session the client's; empty when nothing differs. A value that either side does
// not know is left alone, and case does not count.
std::string restore_commands(const TrackedNames& names, const ParameterSet& client, const ParameterSet& server);
// After a restore: the server's spelling where both mean the same, so that the next comparison finds one object.
ParameterSetPtr adopt_spelling(const ParameterSetPtr& client, const ParameterSetPtr& server);

}  // namespace pgvigil::pool
