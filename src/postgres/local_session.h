// The agent's persistent connection to its own server: opened when first needed, reopened when it was lost, shared by
// all coroutines of the agent (they take turns). Patroni's name and settings are used, so that operators find it in
// pg_stat_activity where they look for it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "config/agent_config.h"
#include "postgres/pg_connection.h"

namespace pgvigil::postgres {

class LocalSession {
 public:
  LocalSession(Clock& clock, const config::PostgresConfig& config) : clock_(clock), turn_(clock) { configure(config); }

  // Takes new credentials, address or database over; the connection is dropped when they differ.
  void configure(const config::PostgresConfig& config);
  // Closes the connection; the next call opens a new one. Call it when the postmaster has ended.
  void drop();

  // A call that finds its kept connection dead tries once more on a new one, so `sql` has to be repeatable.
  Task<PgConnection::Outcome<QueryResult>> query(std::string sql, Row parameters, TimePoint deadline);
  Task<PgConnection::Outcome<std::vector<QueryResult>>> batch(std::string sql, TimePoint deadline);

  // 150020; 0 while it has not been connected since drop().
  [[nodiscard]] int server_version() const { return server_version_; }
  [[nodiscard]] Clock& clock() const { return clock_; }
  // A short-lived connection of its own: as the superuser to the same place; for CHECKPOINT and other long statements.
  Task<PgConnection::Outcome<std::unique_ptr<PgConnection>>> open_another(PgConnection::Options options,
                                                                          TimePoint deadline);
  // A local walsender connection (replication user), for IDENTIFY_SYSTEM and TIMELINE_HISTORY.
  Task<PgConnection::Outcome<std::unique_ptr<PgConnection>>> open_replication(TimePoint deadline);

 private:
  template <class T, class Call>
  Task<PgConnection::Outcome<T>> run(Call call, TimePoint deadline);
  Task<PgConnection::Outcome<void>> connect(TimePoint deadline);

  Clock& clock_;
  Signal turn_;
  bool busy_ = false;
  Conninfo where_, replication_;
  std::shared_ptr<PgConnection> connection_;
  int server_version_ = 0;
  std::uint64_t generation_ = 0;  // counts configure() and drop(): a connection of an older one is not kept
};

// How long an attempt to connect locally may take (Patroni's connect_timeout), within the caller's deadline.
inline constexpr Duration kLocalConnectTimeout = std::chrono::seconds(3);
inline constexpr Duration kLocalStatementTimeout = std::chrono::seconds(2);

}  // namespace pgvigil::postgres
