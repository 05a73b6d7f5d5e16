// The operator's commands: `pgvigil list`, also as `patronictl list`.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/log.h"
#include "config/agent_config.h"
#include "ctl/completion.h"
#include "dcs/kv_store.h"

namespace pgvigil::ctl {

// Given by the application, so that the commands need no gRPC of their own.
using KvFactory =
    std::function<Result<std::unique_ptr<dcs::KvStore>>(Clock& clock, Log log, const config::EtcdConfig& etcd)>;

// What -r/--role and -f/--format take.
const std::vector<std::string>& member_roles();
const std::vector<std::string>& output_formats();

// `others`: verbs of the same program that are not parsed here, for the completion scripts.
// Exit status: 0; 1 for a failure, printed as "Error: ..."; 2 for wrong usage. As patronictl, a REST call that a member
// refused is printed and counts as success.
int run_ctl(int argc, char** argv, const std::string& program, const std::string& version, const KvFactory& make_kv,
            std::vector<VerbWords> others);

}  // namespace pgvigil::ctl
