// The operator's commands: `pgvigil list`, also as `patronictl list`.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "config/agent_config.h"
#include "dcs/kv_store.h"

namespace pgvigil::ctl {

// Given by the application, so that the commands need no gRPC of their own.
using KvFactory =
    std::function<Result<std::unique_ptr<dcs::KvStore>>(Clock& clock, Log log, const config::EtcdConfig& etcd)>;

// Exit status: 0; 1 for a failure, printed as "Error: ..."; 2 for wrong usage. As patronictl, a REST call that a member
// refused is printed and counts as success.
int run_ctl(int argc, char** argv, const std::string& program, const std::string& version, const KvFactory& make_kv);

}  // namespace pgvigil::ctl
