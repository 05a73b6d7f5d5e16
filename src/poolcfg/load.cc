// Reading a whole file: the sections, [pgbouncer] by the table of settings, and what settings need of each other.
#include <fmt/format.h>

#include "poolcfg/rows.h"
#include "poolcfg/sections.h"
#include "poolcfg/text_file.h"

namespace pgvigil::poolcfg {
namespace {

constexpr Section kSections[] = {
    {"pgbouncer", begin_settings, take_setting},
    {"databases", nullptr, take_database},
    {"users", nullptr, take_user},
    {"peers", nullptr, take_peer},
    {"cluster", begin_cluster, take_cluster},
};

const Section* find_section(std::string_view name) {
  for (const Section& section : sections()) {
    if (section.name == name) return &section;
  }
  return nullptr;
}

tl::unexpected<Error> unknown_section(std::string_view name, const Where& where) {
  std::vector<std::string_view> names;
  for (const Section& section : sections()) names.push_back(section.name);
  return refused_key(where, fmt::format("[{}]", shown(name)), {"is not a known section", did_you_mean(name, names)});
}

}  // namespace

std::span<const Section> sections() { return kSections; }

Result<void> begin_settings(Loading& loading, const Where& where) {
  if (!loading.settings_seen) {
    loading.settings_seen = true;
    return {};
  }
  // PgBouncer's rule, kept because files that rely on it exist: each header puts what has a default back to it.
  const auto forgotten = to_defaults(loading.config.settings, loading.config.written);
  if (!forgotten.empty()) {
    loading.warn(where, fmt::format("a second [pgbouncer] puts {} back to the default; use one section",
                                    fmt::join(forgotten, ", ")));
  }
  return {};
}

Result<void> take_setting(Loading& loading, const IniEntry& entry) {
  const Row* row = find_row(entry.key);
  if (row == nullptr) {
    return refused(entry.where, entry.key, entry.value,
                   {"is not a known setting", did_you_mean(entry.key, row_keys())});
  }
  const auto taken = assign(*row, loading.config.settings, entry.value);
  if (!taken) return refused(entry.where, entry.key, entry.value, taken.error());
  if (!taken->empty()) loading.warn(entry.where, fmt::format("{} {}", row->key, *taken));
  loading.config.written.emplace(row->key);
  loading.settings_at.insert_or_assign(std::string(row->key), entry.where);
  return {};
}

Result<PoolConfig> parse_config(std::string_view text, const std::string& name) {
  Loading loading;
  const Section* current = nullptr;
  IniHandler handler;
  handler.section = [&](std::string_view section, const Where& where) -> Result<void> {
    current = find_section(section);
    if (current == nullptr) return unknown_section(section, where);
    return current->begin == nullptr ? Result<void>() : current->begin(loading, where);
  };
  handler.entry = [&](const IniEntry& entry) { return current->entry(loading, entry); };
  PGV_TRY_VOID(read_ini(text, name, handler));
  if (!loading.settings_seen) {
    return fail(Errc::InvalidConfig, "no section [pgbouncer] in", name, {},
                "add the line [pgbouncer] and its settings");
  }
  PGV_TRY_VOID(check_together(loading));
  return std::move(loading.config);
}

Result<PoolConfig> load_config(const std::string& path) {
  PGV_TRY(text, read_text_file(path, "the configuration file"));
  auto config = parse_config(text.reveal(), path);
  if (config && !config->written.contains("conffile")) config->settings.conffile = path;
  return config;
}

}  // namespace pgvigil::poolcfg
