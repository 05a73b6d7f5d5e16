// Asynchronous connections to PostgreSQL servers: libpq, nonblocking, on the clock's executor. PostgreSQL
// documentation, "Asynchronous Command Processing". No call blocks the loop: host names are resolved beside it.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "postgres/conninfo.h"

struct pg_conn;

namespace pgvigil::postgres {

using Row = std::vector<std::optional<std::string>>;  // nullopt: SQL null

struct QueryResult {
  std::vector<std::string> columns;
  std::vector<Row> rows;
  std::string command_tag;  // "SELECT 1", "CREATE ROLE"

  // The value in the row under the name of the column; empty text for null and for a column that is not there.
  [[nodiscard]] std::string text(std::size_t row, std::string_view column) const;
  [[nodiscard]] bool is_null(std::size_t row, std::string_view column) const;
};

// One connection. Not shared: one call at a time. Closing it, also in the middle of a query, leaks nothing and does not
// wait. After Timeout or a lost connection it is unusable (usable() == false). An abandoned statement ends by itself:
// the server's statement_timeout is set from the deadline (PQcancel would block, for ever on a stopped server).
class PgConnection {
 public:
  struct Options {
    std::string application_name = "pgvigil";
    // Settings for the session: name and value; statement_timeout and search_path are added.
    std::vector<std::pair<std::string, std::string>> settings;
    // The server's limit for any statement; zero: none.
    Duration statement_timeout = std::chrono::seconds(2);
  };
  // What went wrong, beyond the text: the server's SQLSTATE, empty when the server did not say one.
  struct Failure {
    Error error;
    std::string sqlstate;
  };
  template <class T>
  using Outcome = tl::expected<T, Failure>;

  // Timeout: no answer by the deadline. Unavailable: nobody listens there. Unauthorized: class 28. Refused: any other
  // answer with a SQLSTATE (57P03: starting up or shutting down). A missing pg_hba.conf line is the error's remedy.
  static Task<Outcome<std::unique_ptr<PgConnection>>> open(Clock& clock, Conninfo where, Options options,
                                                           TimePoint deadline);
  ~PgConnection();
  PgConnection(const PgConnection&) = delete;
  PgConnection& operator=(const PgConnection&) = delete;

  // One statement with parameters $1, ... as text.
  Task<Outcome<QueryResult>> query(std::string sql, Row parameters, TimePoint deadline);
  // Several statements in one round trip and one transaction; a result for each. Also for replication commands.
  Task<Outcome<std::vector<QueryResult>>> batch(std::string sql, TimePoint deadline);

  [[nodiscard]] bool usable() const;
  [[nodiscard]] int server_version() const;  // 150020
  [[nodiscard]] std::string quote_identifier(const std::string& name) const;
  [[nodiscard]] std::string quote_literal(const std::string& value) const;
  // The SCRAM verifier of a password, computed here so that the server never sees (and logs) the password itself.
  [[nodiscard]] Result<Secret> scram_verifier(const std::string& user, const Secret& password) const;

 private:
  class Wire;
  explicit PgConnection(std::unique_ptr<Wire> wire);
  std::unique_ptr<Wire> wire_;
};

// SQLSTATEs that callers act on.
inline constexpr std::string_view kCannotConnectNow = "57P03";

// "FATAL: no pg_hba.conf entry for ..." -> the line that would admit it; empty when the text is something else.
std::string hba_hint(std::string_view server_message);

}  // namespace pgvigil::postgres
