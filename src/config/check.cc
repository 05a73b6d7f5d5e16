#include "config/check.h"

#include <unistd.h>

#include <algorithm>

#include "config/examine.h"
#include "config/settings_table.h"

namespace pgvigil::config {

namespace {

// Files that have to exist before the agent starts. (pgpass is written by the agent; a watchdog device may be missing.)
constexpr const char* kInputFiles[] = {
    "etcd3.cacert",   "etcd3.cert", "etcd3.key",    "restapi.certfile", "restapi.keyfile",
    "restapi.cafile", "ctl.cacert", "ctl.certfile", "ctl.keyfile",      "postgresql.bin_dir",
};
constexpr const char* kCredentialFiles[] = {"sslcert", "sslkey", "sslrootcert", "sslcrl", "sslcrldir"};

void need_file(const Value& root, const std::string& path, Problems& problems) {
  const Value* value = root.at(path);
  if (value == nullptr || !value->is_scalar() || value->text.empty()) return;
  if (access(value->text.c_str(), R_OK) == 0) return;
  problems.push_back({Problem::Severity::Warning, value->where, path, value->text, "this user cannot read it here",
                      "check the path and its permissions"});
}

}  // namespace

Problems check_config(const std::string& file_or_directory, const Environment& environment) {
  auto examined = examine(file_or_directory, environment, Purpose::Agent);
  if (!examined) {
    const Error& error = examined.error();
    return {
        {Problem::Severity::Error, {file_or_directory, 0, 0}, "", "", "cannot be read: " + error.cause, error.remedy}};
  }
  Problems problems = std::move(examined->problems);
  for (const char* path : kInputFiles) need_file(examined->root, path, problems);
  for (const char* role : {"superuser", "replication", "rewind"}) {
    for (const char* key : kCredentialFiles) {
      need_file(examined->root, std::string("postgresql.authentication.") + role + "." + key, problems);
    }
  }
  std::stable_sort(problems.begin(), problems.end(), [](const Problem& a, const Problem& b) {
    return std::tie(a.where.file, a.where.line, a.where.column) < std::tie(b.where.file, b.where.line, b.where.column);
  });
  return problems;
}

}  // namespace pgvigil::config
