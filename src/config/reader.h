// Typed values out of a document: what is written where it is usable and within bounds, else the table's default.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/secret.h"
#include "base/time.h"
#include "config/agent_config.h"
#include "config/value.h"

namespace pgvigil::config {

class Reader {
 public:
  // `root` outlives the reader. `dynamic` says which rows of the table count.
  Reader(const Value& root, bool dynamic) : root_(root), dynamic_(dynamic) {}

  // Null when not given or not usable as the table says.
  [[nodiscard]] const Value* usable(std::string_view path) const;
  [[nodiscard]] bool given(std::string_view path) const { return usable(path) != nullptr; }

  [[nodiscard]] std::string text(std::string_view path) const;
  [[nodiscard]] Secret secret(std::string_view path) const;
  [[nodiscard]] bool boolean(std::string_view path) const;
  [[nodiscard]] std::int64_t number(std::string_view path) const;  // clamped to the bounds
  [[nodiscard]] Duration seconds(std::string_view path) const;
  [[nodiscard]] std::optional<HostPort> address(std::string_view path) const;
  [[nodiscard]] std::vector<std::string> list(std::string_view path) const;   // comma text is split
  [[nodiscard]] std::vector<std::string> lines(std::string_view path) const;  // text is split at line breaks
  [[nodiscard]] std::map<std::string, std::string> map(std::string_view path) const;

 private:
  [[nodiscard]] std::string_view fallback(std::string_view path) const;

  const Value& root_;
  bool dynamic_;
};

// Scalars of a map as text, others left out. Booleans as `parameter_text` has them (on/off), or, for scripts, as
// Patroni passes them to scripts (True/False).
std::map<std::string, std::string> text_map(const Value& map);
std::map<std::string, std::string> script_map(const Value& map);

// Options of a program. Those in `forbidden` are left out with a warning: the agent sets them itself.
std::vector<Option> read_options(const Value* value, const std::string& path,
                                 const std::vector<std::string_view>& forbidden, Problems& problems);

}  // namespace pgvigil::config
