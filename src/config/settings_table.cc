#include "config/settings_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "config/settings_rows.h"

namespace pgvigil::config {

namespace {

using Index = std::unordered_map<std::string_view, const Setting*>;

bool applies(const Setting& row, bool dynamic) {
  return row.origin == Origin::Both || (row.origin == Origin::Dynamic) == dynamic;
}

Index make_index(bool dynamic) {
  Index index;
  for (const Setting& row : settings()) {
    if (applies(row, dynamic)) index.emplace(row.path, &row);
  }
  return index;
}

std::string canonical(std::string_view path) {
  for (const std::string_view role : {"replication", "rewind"}) {
    const std::string prefix = fmt::format("postgresql.authentication.{}.", role);
    if (path.starts_with(prefix)) {
      return fmt::format("postgresql.authentication.superuser.{}", path.substr(prefix.size()));
    }
  }
  return std::string(path);
}

std::string_view kind_text(Kind kind) {
  switch (kind) {
    case Kind::Section: return "section";
    case Kind::Text: return "text";
    case Kind::Secret: return "secret";
    case Kind::Choice: return "choice";
    case Kind::Boolean: return "boolean";
    case Kind::Integer: return "integer";
    case Kind::Seconds: return "seconds";
    case Kind::Bytes: return "bytes";
    case Kind::Address: return "host:port";
    case Kind::Listen: return "address[,address]:port";
    case Kind::Endpoint: return "host[:port]";
    case Kind::Endpoints: return "list of host[:port]";
    case Kind::Url: return "URL";
    case Kind::File: return "file";
    case Kind::Directory: return "directory";
    case Kind::TextList: return "list";
    case Kind::Lines: return "list of lines";
    case Kind::TextMap: return "map";
    case Kind::Parameters: return "map of parameters";
    case Kind::Options: return "list of options";
    case Kind::Free: return "see text";
  }
  return "";
}

std::string_view origin_text(Origin origin) {
  switch (origin) {
    case Origin::Local: return "file";
    case Origin::Dynamic: return "etcd";
    case Origin::Both: return "file over etcd";
  }
  return "";
}

std::string_view reload_text(Reload reload) {
  switch (reload) {
    case Reload::Live: return "at once";
    case Reload::Restart: return "restart of the agent";
    case Reload::FirstStart: return "new clusters only";
    case Reload::None: return "no effect";
  }
  return "";
}

std::string bounds_text(const Setting& row) {
  if (!row.choices.empty()) {
    std::string text(row.choices);
    for (std::size_t i = 0; (i = text.find('|', i)) != std::string::npos; i += 2) text.replace(i, 1, ", ");
    return text;
  }
  const bool lower = row.min != std::numeric_limits<std::int64_t>::min();
  const bool upper = row.max != std::numeric_limits<std::int64_t>::max();
  if (lower && upper) return fmt::format("{} to {}", row.min, row.max);
  if (lower) return fmt::format("at least {}", row.min);
  return upper ? fmt::format("at most {}", row.max) : std::string();
}

std::string_view section_of(std::string_view path) {
  const std::size_t dot = path.find('.');
  return dot == std::string_view::npos ? std::string_view() : path.substr(0, dot);
}

}  // namespace

std::span<const Setting> settings() { return setting_rows(); }

const Setting* find_setting(std::string_view path, bool dynamic) {
  static const Index kLocal = make_index(false), kDynamic = make_index(true);
  const Index& index = dynamic ? kDynamic : kLocal;
  const auto found = index.find(path);
  if (found != index.end()) return found->second;
  const auto alias = index.find(canonical(path));
  return alias == index.end() ? nullptr : alias->second;
}

std::vector<std::string> known_keys(std::string_view section, bool dynamic) {
  std::vector<std::string> keys;
  std::string prefix = canonical(std::string(section) + ".");
  if (section.empty()) prefix.clear();
  for (const Setting& row : settings()) {
    if (!applies(row, dynamic) || !row.path.starts_with(prefix)) continue;
    const std::string_view rest = row.path.substr(prefix.size());
    if (rest.empty() || rest.find('.') != std::string_view::npos) continue;
    keys.emplace_back(rest);
    if (row.kind == Kind::Secret) keys.push_back(std::string(rest) + "_file");
  }
  return keys;
}

std::string settings_reference_markdown() {
  std::string page;
  std::string_view section = "-";
  bool dynamic = false;
  for (const Setting& row : settings()) {
    const bool row_dynamic = row.origin == Origin::Dynamic && section_of(row.path) != "postgresql";
    const bool top = section_of(row.path).empty();
    const std::string_view row_section = top && row.kind == Kind::Section ? row.path : section_of(row.path);
    if (row_section != section || row_dynamic != dynamic) {
      section = row_section;
      dynamic = row_dynamic;
      const std::string title = !section.empty() ? fmt::format("`{}`", section)
                                : dynamic        ? "Dynamic configuration"
                                                 : "Top level";
      page += fmt::format("{}## {}\n\n", page.empty() ? "" : "\n", title);
      page += "| key | kind | default | accepts | from | takes effect | meaning |\n|---|---|---|---|---|---|---|\n";
    }
    page += fmt::format("| `{}` | {} | {} | {} | {} | {} | {}{} |\n", row.path, kind_text(row.kind),
                        row.fallback.empty() ? std::string() : fmt::format("`{}`", row.fallback), bounds_text(row),
                        origin_text(row.origin), reload_text(row.reload), row.doc,
                        row.own ? " (pgvigil's own; Patroni ignores it.)" : "");
  }
  return page;
}

}  // namespace pgvigil::config
