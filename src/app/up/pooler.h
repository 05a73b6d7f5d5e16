// The pooler of the reference deployment: its files.
#pragma once

#include "app/up/deployment.h"
#include "base/secret.h"

namespace pgvigil::app {

// pgbouncer.ini and the userlist.
Result<void> write_pooler(const Deployment& deployment, const Part& pooler, const Secret& superuser);

}  // namespace pgvigil::app
