#include "postgres/users.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <set>

namespace pgvigil::postgres {
namespace {

Task<Result<void>> run(PgConnection& connection, std::string sql, TimePoint deadline) {
  auto done = co_await connection.batch(std::move(sql), deadline);
  if (!done) co_return tl::make_unexpected(std::move(done.error().error));
  co_return Result<void>();
}

// CREATE or ALTER ROLE with a verifier instead of the password.
Task<Result<void>> ensure_role(PgConnection& connection, std::string name, std::string attributes, Secret password,
                               TimePoint deadline) {
  std::string sql = "SELECT 1 FROM pg_roles WHERE rolname = $1";
  Row parameters{name};
  auto found = co_await connection.query(std::move(sql), std::move(parameters), deadline);
  if (!found) co_return tl::make_unexpected(std::move(found.error().error));
  std::string statement = fmt::format("{} ROLE {} WITH {}", found->rows.empty() ? "CREATE" : "ALTER",
                                      connection.quote_identifier(name), attributes);
  if (!password.empty()) {
    auto verifier = connection.scram_verifier(name, password);
    if (!verifier) co_return tl::make_unexpected(std::move(verifier.error()));
    statement += " PASSWORD " + connection.quote_literal(verifier->reveal());
  }
  co_return co_await run(connection, std::move(statement), deadline);
}

}  // namespace

PgConnection::Options role_session_options() {
  PgConnection::Options options;
  options.application_name = "Patroni heartbeat";
  options.settings = {{"log_statement", "none"},
                      {"log_min_duration_statement", "-1"},
                      {"log_min_error_statement", "log"},
                      {"synchronous_commit", "local"}};
  options.statement_timeout = Duration{0};
  return options;
}

Task<Result<void>> set_superuser_password(PgConnection& connection, config::Credentials superuser, TimePoint deadline) {
  if (superuser.username.empty() || superuser.password.empty()) co_return Result<void>();
  co_return co_await ensure_role(connection, superuser.username, "LOGIN SUPERUSER", superuser.password, deadline);
}

Task<Result<void>> create_replication_user(PgConnection& connection, config::Credentials user, TimePoint deadline) {
  if (user.username.empty()) co_return Result<void>();
  co_return co_await ensure_role(connection, user.username, "LOGIN REPLICATION", user.password, deadline);
}

Task<Result<void>> create_rewind_user(PgConnection& connection, config::Credentials user, TimePoint deadline) {
  if (user.username.empty()) co_return Result<void>();
  auto created = co_await ensure_role(connection, user.username, "LOGIN", user.password, deadline);
  if (!created) co_return created;
  constexpr std::array<std::string_view, 4> kFunctions{
      "pg_catalog.pg_ls_dir(text, boolean, boolean)", "pg_catalog.pg_stat_file(text, boolean)",
      "pg_catalog.pg_read_binary_file(text)", "pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean)"};
  std::string sql;
  for (const auto function : kFunctions) {
    sql += fmt::format("GRANT EXECUTE ON FUNCTION {} TO {};", function, connection.quote_identifier(user.username));
  }
  co_return co_await run(connection, std::move(sql), deadline);
}

Task<Result<void>> create_bootstrap_users(PgConnection& connection, std::vector<config::BootstrapUser> users,
                                          TimePoint deadline) {
  constexpr std::array<std::string_view, 14> kKnown{
      "superuser", "nosuperuser", "createdb", "nocreatedb",  "createrole",    "nocreaterole", "inherit",
      "noinherit", "login",       "nologin",  "replication", "noreplication", "bypassrls",    "nobypassrls"};
  for (auto& user : users) {
    std::set<std::string> attributes;
    for (const auto& option : user.options) {
      std::string lower;
      for (const char c : option) lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      if (std::find(kKnown.begin(), kKnown.end(), lower) == kKnown.end()) {
        co_return fail(Errc::InvalidConfig, "cannot create a bootstrap user", user.name,
                       fmt::format("`{}` is no role option", option),
                       "use createdb, createrole, replication and the like");
      }
      attributes.insert(lower);
    }
    if (attributes.count("nologin") == 0) attributes.insert("login");
    std::string clauses = fmt::format("{}", fmt::join(attributes, " "));
    std::string name = user.name;
    Secret password = user.password;
    auto done = co_await ensure_role(connection, std::move(name), std::move(clauses), std::move(password), deadline);
    if (!done) co_return done;
  }
  co_return Result<void>();
}

}  // namespace pgvigil::postgres
