// Reads the agent's configuration: YAML file or directory of *.yml and *.yaml (sorted, merged recursively), with the
// PATRONI_* environment over it. Patroni documentation, "YAML Configuration Settings" and "Environment Configuration
// Settings".
//
// Passwords may be kept in files of their own: every key X that holds a secret (password, keyfile_password,
// sslpassword) has a twin X_file with a path, and every such environment variable a twin with _FILE. One line break at
// the end of the file does not belong to the password.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "config/agent_config.h"

namespace pgvigil::config {

using Environment = std::map<std::string, std::string>;

struct Loaded {
  AgentConfig config;
  std::vector<std::string> warnings;  // one line each, with file and line: for the log, and `check-config` shows them
};

// Error: Errc::NotFound when the file does not exist, else Errc::InvalidConfig. All problems are reported at once: they
// stand in Error::cause, one per line ('\n' between them, none at the end).
//
// `file_or_directory` empty: the whole YAML is taken from PATRONI_CONFIGURATION, and the other variables do not count.
// Without that variable either, the environment alone has to say everything.
Result<Loaded> load_agent_config(const std::string& file_or_directory, const Environment& environment);

// For tools: fills scope, name_space, etcd, ctl and restapi; the other sections may be missing and are not looked at.
// Nothing is required, not even etcd.hosts (--dcs-url may give them). `file_or_directory` empty: environment only.
// Errors as above.
Result<Loaded> load_ctl_config(const std::string& file_or_directory, const Environment& environment);

// The environment of this process. Read it once at the start, before threads exist.
Environment process_environment();

// True for variables that must not reach PostgreSQL or scripts: PATRONI_*, KUBERNETES_*, NOTIFY_SOCKET.
bool is_consumed_variable(const std::string& name);

}  // namespace pgvigil::config
