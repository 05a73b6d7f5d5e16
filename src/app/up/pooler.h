// The pooler of the reference deployment: its files, and where it sends writes.
#pragma once

#include <string>
#include <vector>

#include "app/up/deployment.h"
#include "base/secret.h"

namespace pgvigil::app {

// pgbouncer.ini and the userlist. The route (leader.ini) is made only when there is none: it is the callbacks' file.
Result<void> write_pooler(const Deployment& deployment, const Part& pooler, const Secret& superuser);

// The words of a callback that tells the pooler which node leads; the agent appends action, role and scope.
std::string route_callback(const Deployment& deployment, const Part& node);
// That callback.
int run_route(const std::vector<std::string>& arguments);

}  // namespace pgvigil::app
