#include "config/load.h"

#include <utility>

#include "config/examine.h"

namespace pgvigil::config {

namespace {

Result<Loaded> load(const std::string& file_or_directory, const Environment& environment, Purpose purpose) {
  PGV_TRY(examined, examine(file_or_directory, environment, purpose));
  std::string errors;
  Loaded loaded;
  for (const Problem& problem : examined.problems) {
    if (problem.severity == Problem::Severity::Warning) {
      loaded.warnings.push_back(problem.message());
      continue;
    }
    if (!errors.empty()) errors += '\n';
    errors += problem.message();
  }
  if (!errors.empty()) {
    return fail(Errc::InvalidConfig, "cannot use the configuration", examined.config.source, std::move(errors));
  }
  loaded.config = std::move(examined.config);
  return loaded;
}

}  // namespace

Result<Loaded> load_agent_config(const std::string& file_or_directory, const Environment& environment) {
  return load(file_or_directory, environment, Purpose::Agent);
}

Result<Loaded> load_ctl_config(const std::string& file_or_directory, const Environment& environment) {
  return load(file_or_directory, environment, Purpose::Tool);
}

}  // namespace pgvigil::config
