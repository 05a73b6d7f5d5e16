// docs/configuration.md is made from the table of settings and checked in: this test keeps the two together.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "config/settings_table.h"

namespace pgvigil::config {
namespace {

constexpr const char* kIntroduction = R"(# Configuration

The agent reads one YAML file, or a directory whose `*.yml` and `*.yaml` it merges in the order of their names.
Patroni's files work as they are, with etcd v3. `pgvigil check-config FILE` names every problem with its line and what
would be valid; `pgvigil agent --generate-sample-config` makes a file to start from, `--generate-config` one for a
server that runs already.

Where settings come from, the last one counts: built-in defaults; the dynamic configuration in etcd
(`pgvigil edit-config`); the local file; the environment (`PATRONI_` and the path in capitals:
`PATRONI_RESTAPI_LISTEN`). What is marked "etcd" below is the same on all members and is ignored in local files outside
of `bootstrap.dcs`, which matters only until the cluster exists.

Every secret `X` has a twin `X_file` that names a file with the secret alone. `pgvigil history --config` shows what was
changed in the dynamic configuration, and when.

This page is made from the table that the agent itself reads by. After a change of the table:
`PGVIGIL_UPDATE_DOCS=1 unit_config`.

)";

TEST(SettingsReference, IsThePageInDocs) {
  const std::string path = std::string(PGVIGIL_SOURCE_DIR) + "/docs/configuration.md";
  const std::string wanted = kIntroduction + settings_reference_markdown();
  if (std::getenv("PGVIGIL_UPDATE_DOCS") != nullptr) std::ofstream(path) << wanted;
  std::ifstream file(path);
  const std::string page{std::istreambuf_iterator<char>(file), {}};
  EXPECT_TRUE(page == wanted) << "run: PGVIGIL_UPDATE_DOCS=1 " << PGVIGIL_BIN_DIR << "/unit_config";
}

}  // namespace
}  // namespace pgvigil::config
