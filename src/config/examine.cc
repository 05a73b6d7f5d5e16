#include "config/examine.h"

#include <algorithm>
#include <utility>

#include "config/build.h"
#include "config/environment.h"
#include "config/secrets.h"
#include "config/validate.h"
#include "config/yaml_reader.h"

namespace pgvigil::config {

namespace {

constexpr const char* kWholeConfiguration = "PATRONI_CONFIGURATION";

Result<Document> read_source(const std::string& file_or_directory, const Environment& environment) {
  if (!file_or_directory.empty()) return read_yaml(file_or_directory);
  const auto whole = environment.find(kWholeConfiguration);
  if (whole != environment.end() && !whole->second.empty()) {
    return read_yaml_text(whole->second, std::string("environment ") + kWholeConfiguration);
  }
  Document document;
  document.root = Value::map({"environment", 0, 0});
  return document;
}

bool environment_counts(const std::string& file_or_directory, const Environment& environment) {
  const auto whole = environment.find(kWholeConfiguration);
  return !file_or_directory.empty() || whole == environment.end() || whole->second.empty();
}

void keep_common_sections(Value& root) {
  auto& entries = root.entries;
  const auto kept = std::remove_if(entries.begin(), entries.end(), [](const Value::Entry& entry) {
    for (const char* key : {"scope", "namespace", "etcd3", "etcd", "restapi", "ctl"}) {
      if (entry.key == key) return false;
    }
    return true;
  });
  entries.erase(kept, entries.end());
}

void sort_problems(Problems& problems) {
  std::stable_sort(problems.begin(), problems.end(), [](const Problem& a, const Problem& b) {
    return std::tie(a.where.file, a.where.line, a.where.column) < std::tie(b.where.file, b.where.line, b.where.column);
  });
}

}  // namespace

Result<Examined> examine(const std::string& file_or_directory, const Environment& environment, Purpose purpose) {
  PGV_TRY(document, read_source(file_or_directory, environment));
  Examined result;
  result.problems = std::move(document.problems);
  result.root = std::move(document.root);
  result.config.source = result.root.where.file;
  // After a syntax error the rest of the text is unknown: everything would seem to be missing.
  if (has_errors(result.problems)) {
    sort_problems(result.problems);
    return result;
  }
  if (environment_counts(file_or_directory, environment)) apply_environment(result.root, environment, result.problems);
  if (purpose == Purpose::Tool) keep_common_sections(result.root);
  validate_local(result.root, result.problems);
  resolve_secret_files(result.root, result.problems);
  build_common(result.root, result.config, result.problems);
  if (purpose == Purpose::Agent) build_agent(result.root, environment, result.config, result.problems);
  sort_problems(result.problems);
  return result;
}

}  // namespace pgvigil::config
