// From the `etcd3` section to the options of the etcd adapter.
#pragma once

#include "config/agent_config.h"
#include "dcs/etcd/etcd_store.h"

namespace pgvigil::app {

Result<dcs::EtcdOptions> etcd_options(const config::EtcdConfig& config);

}  // namespace pgvigil::app
