// The tables of docs/pool-configuration.md, from the tables that the reader uses.
#include <fmt/format.h>

#include "poolcfg/rows.h"
#include "poolcfg/sections.h"
#include "poolcfg/values.h"

namespace pgvigil::poolcfg {
namespace {

std::string_view kind_text(Kind kind) {
  switch (kind) {
    case Kind::Text: return "text";
    case Kind::File: return "path";
    case Kind::List: return "list";
    case Kind::Integer:
    case Kind::Limit: return "number";
    case Kind::Switch: return "0 or 1";
    case Kind::Seconds: return "seconds";
    case Kind::Choice: return "choice";
  }
  return "";
}

// In a cell, | would end it.
std::string cell(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '|') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

std::string type_text(const Row& row) {
  if (row.kind != Kind::Choice) return std::string(kind_text(row.kind));
  if (!row.choices.empty()) {
    std::string choices;
    for (const char c : row.choices) choices += c == '|' ? std::string(", ") : std::string(1, c);
    return choices;
  }
  Settings settings;
  const Field field = row.field(settings);
  if (std::holds_alternative<PoolMode*>(field)) return fmt::format("{}", fmt::join(name_list<PoolMode>(), ", "));
  if (std::holds_alternative<AuthType*>(field)) return fmt::format("{}", fmt::join(name_list<AuthType>(), ", "));
  return fmt::format("{}", fmt::join(name_list<SslMode>(), ", "));
}

std::string fallback_text(const Row& row) {
  if (!row.fallback) return "none";
  if (row.fallback->empty()) return "empty";
  return fmt::format("`{}`", cell(*row.fallback));
}

template <class Entry>
std::string pairs_table(std::string_view heading, std::span<const PairRow<Entry>> rows) {
  std::string text = fmt::format("\n### {}\n\n| key | type | without it | meaning |\n|---|---|---|---|\n", heading);
  for (const auto& row : rows) {
    text += fmt::format("| {} | {} | {} | {} |\n", row.key, row.kind, cell(row.fallback), cell(row.doc));
  }
  return text;
}

}  // namespace

std::string settings_reference_markdown() {
  std::string text;
  for (const Row& row : rows()) {
    if (!row.group.empty()) {
      text += fmt::format("{}### {}\n\n| setting | type | default | reload | meaning |\n|---|---|---|---|---|\n",
                          text.empty() ? "" : "\n", row.group);
    }
    text += fmt::format("| {} | {} | {} | {} | {} |\n", row.key, type_text(row), fallback_text(row),
                        row.reload == Reload::Live ? "yes" : "no", cell(row.doc));
  }
  text += pairs_table("Keys of [databases]", database_rows());
  text += pairs_table("Keys of [users]", user_rows());
  text += pairs_table("Keys of [peers]", peer_rows());
  text += pairs_table("Keys of [cluster]", cluster_rows());
  return text;
}

}  // namespace pgvigil::poolcfg
