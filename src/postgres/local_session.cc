#include "postgres/local_session.h"

namespace pgvigil::postgres {
namespace {

PgConnection::Options heartbeat_options() {
  PgConnection::Options options;
  options.application_name = "Patroni heartbeat";
  options.statement_timeout = kLocalStatementTimeout;
  return options;
}

}  // namespace

void LocalSession::configure(const config::PostgresConfig& config) {
  auto where = local_conninfo(config, config.superuser, false);
  auto replication = local_conninfo(config, config.replication, true);
  if (where == where_ && replication == replication_) return;
  where_ = std::move(where);
  replication_ = std::move(replication);
  drop();
}

void LocalSession::drop() {
  connection_.reset();
  server_version_ = 0;
  ++generation_;
}

Task<PgConnection::Outcome<void>> LocalSession::connect(TimePoint deadline) {
  const auto generation = generation_;
  const TimePoint by = std::min(deadline, clock_.now() + kLocalConnectTimeout);
  Conninfo where = where_;
  auto options = heartbeat_options();
  auto opened = co_await PgConnection::open(clock_, std::move(where), std::move(options), by);
  if (!opened) co_return tl::make_unexpected(std::move(opened.error()));
  if (generation == generation_) {
    connection_ = std::move(*opened);
    server_version_ = connection_->server_version();
    co_return PgConnection::Outcome<void>();
  }
  PgConnection::Failure failure{
      Error{Errc::Unavailable, "cannot connect to PostgreSQL", {}, "it has just restarted", {}}, {}};
  co_return tl::make_unexpected(std::move(failure));
}

template <class T, class Call>
Task<PgConnection::Outcome<T>> LocalSession::run(Call call, TimePoint deadline) {
  while (busy_) {
    if (!co_await turn_.wait_until(deadline)) {
      PgConnection::Failure failure{
          Error{Errc::Timeout, "no turn on the local connection", {}, "another query hangs", {}}, {}};
      co_return tl::make_unexpected(std::move(failure));
    }
  }
  busy_ = true;
  std::optional<PgConnection::Outcome<T>> outcome;
  for (int attempt = 0; attempt < 2; ++attempt) {
    const bool fresh = connection_ == nullptr;
    if (fresh) {
      auto connected = co_await connect(deadline);
      if (!connected) {
        outcome = tl::make_unexpected(std::move(connected.error()));
        break;
      }
    }
    const auto connection = connection_;  // drop() may run while the query does
    outcome = co_await call(connection.get());
    if (!connection->usable() && connection_ == connection) connection_.reset();
    // A kept connection that turns out to be dead says nothing about the server: once more on a new one.
    if (*outcome || fresh || connection->usable() || outcome->error().error.code == Errc::Timeout) break;
  }
  busy_ = false;
  turn_.notify();
  co_return std::move(*outcome);
}

Task<PgConnection::Outcome<QueryResult>> LocalSession::query(std::string sql, Row parameters, TimePoint deadline) {
  const auto call = [&sql, &parameters, deadline](PgConnection* connection) {
    return connection->query(sql, parameters, deadline);
  };
  co_return co_await run<QueryResult>(call, deadline);
}

Task<PgConnection::Outcome<std::vector<QueryResult>>> LocalSession::batch(std::string sql, TimePoint deadline) {
  const auto call = [&sql, deadline](PgConnection* connection) { return connection->batch(sql, deadline); };
  co_return co_await run<std::vector<QueryResult>>(call, deadline);
}

Task<PgConnection::Outcome<std::unique_ptr<PgConnection>>> LocalSession::open_another(PgConnection::Options options,
                                                                                      TimePoint deadline) {
  const TimePoint by = std::min(deadline, clock_.now() + kLocalConnectTimeout);
  Conninfo where = where_;
  co_return co_await PgConnection::open(clock_, std::move(where), std::move(options), by);
}

Task<PgConnection::Outcome<std::unique_ptr<PgConnection>>> LocalSession::open_replication(TimePoint deadline) {
  const TimePoint by = std::min(deadline, clock_.now() + kLocalConnectTimeout);
  Conninfo where = replication_;
  auto options = heartbeat_options();
  co_return co_await PgConnection::open(clock_, std::move(where), std::move(options), by);
}

}  // namespace pgvigil::postgres
