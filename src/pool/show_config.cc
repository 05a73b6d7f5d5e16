// SHOW CONFIG, STATE and VERSION.
#include "pool/show.h"

namespace pgvigil::pool {
namespace {

using pgwire::kText;

Rows config(const Snapshot& snapshot) {
  Rows rows;
  for (poolcfg::SettingRow& setting : poolcfg::show_config(snapshot.settings())) {
    rows.push_back({std::move(setting.key), std::move(setting.value), std::move(setting.fallback),
                    cell(setting.changeable ? "yes" : "no")});
  }
  return rows;
}

Cell yes(bool value) { return cell(value ? "yes" : "no"); }

Rows state(const Snapshot& snapshot) {
  return {{cell("active"), yes(!snapshot.paused && !snapshot.suspended)},
          {cell("paused"), yes(snapshot.paused)},
          {cell("suspended"), yes(snapshot.suspended)}};
}

// What monitoring compares against: the version whose interface this is.
Rows version(const Snapshot&) { return {{cell("PgBouncer 1.25.2")}}; }

}  // namespace

const std::vector<ShowTable>& config_tables() {
  static const std::vector<ShowTable> tables = {
      {"config", kNoFacts, {{"key", kText}, {"value", kText}, {"default", kText}, {"changeable", kText}}, config},
      {"state", kNoFacts, {{"key", kText}, {"value", kText}}, state},
      {"version", kNoFacts, {{"version", kText}}, version},
  };
  return tables;
}

}  // namespace pgvigil::pool
