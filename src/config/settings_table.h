// Every setting once: its place, kind, default, bounds, reload behaviour and the sentence that documents it. The table
// drives parsing, the detection of unknown keys, and the generated reference page.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace pgvigil::config {

enum class Kind : std::uint8_t {
  Section,  // a map whose keys are settings of their own
  Text,
  Secret,   // text; has a twin X_file; never shown
  Choice,   // one of `choices`, separated by '|'
  Boolean,  // on/true/yes/1, off/false/no/0, any case
  Integer,
  Seconds,     // integer, or with a unit: 30min
  Bytes,       // integer, or with a unit: 1GB
  Address,     // host:port
  Listen,      // addr[,addr][:port]
  Endpoint,    // host[:port]
  Endpoints,   // list or comma text of host[:port]
  Url,         // scheme://[user:password@]host[:port]
  File,        // a path
  Directory,   // a path
  TextList,    // list, or comma text
  Lines,       // list of lines
  TextMap,     // map of scalars
  Parameters,  // map of PostgreSQL parameters
  Options,     // command line options: list of `flag` or `{name: value}`, or a map
  Free,        // anything
};

enum class Origin : std::uint8_t { Local, Dynamic, Both };
enum class Reload : std::uint8_t {
  Live,        // taken over on reload (local) or at the next cycle (dynamic)
  Restart,     // needs a restart of the agent
  FirstStart,  // matters only until the cluster exists
  None,        // accepted, without effect in pgvigil
};

struct Setting {
  std::string_view path;  // "restapi.listen"
  Kind kind = Kind::Text;
  Origin origin = Origin::Local;
  Reload reload = Reload::Live;
  std::string_view fallback = {};                               // as it would be written; empty: none
  std::string_view doc = {};                                    // one sentence
  std::int64_t min = std::numeric_limits<std::int64_t>::min();  // seconds, bytes or plain, by kind
  std::int64_t max = std::numeric_limits<std::int64_t>::max();
  std::string_view choices = {};
  bool own = false;  // pgvigil's own: Patroni ignores it
};

std::span<const Setting> settings();

// The row for a key, or null. Rows of postgresql.authentication.superuser serve replication and rewind as well.
const Setting* find_setting(std::string_view path, bool dynamic);

// The last parts of the paths directly below `section` ("" = top level) that are known there.
std::vector<std::string> known_keys(std::string_view section, bool dynamic);

// The reference page: one table per section, in the order of the table above.
std::string settings_reference_markdown();

}  // namespace pgvigil::config
