// Roles that a new cluster needs. Passwords leave this process only as SCRAM verifiers, and statement logging is off
// for the session, so nothing secret reaches the server's log.
#pragma once

#include <vector>

#include "config/agent_config.h"
#include "postgres/pg_connection.h"

namespace pgvigil::postgres {

// The options for a connection that creates roles: logging off, synchronous_commit local (no standby exists yet).
PgConnection::Options role_session_options();

// Each may be repeated: an existing role is altered. On a connection opened with role_session_options(). A user without
// name or password is left alone, except that a replication or rewind user without password is created without one.
Task<Result<void>> set_superuser_password(PgConnection& connection, config::Credentials superuser, TimePoint deadline);
Task<Result<void>> create_replication_user(PgConnection& connection, config::Credentials user, TimePoint deadline);
// Also grants what pg_rewind needs as a source user (PostgreSQL documentation, "pg_rewind", "Notes").
Task<Result<void>> create_rewind_user(PgConnection& connection, config::Credentials user, TimePoint deadline);
Task<Result<void>> create_bootstrap_users(PgConnection& connection, std::vector<config::BootstrapUser> users,
                                          TimePoint deadline);

}  // namespace pgvigil::postgres
