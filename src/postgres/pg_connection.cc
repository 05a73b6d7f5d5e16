#include "postgres/pg_connection.h"

#include <libpq-fe.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

namespace pgvigil::postgres {
namespace {

std::string one_line(const char* text) {
  std::string line = text != nullptr ? text : "";
  while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) line.pop_back();
  std::replace(line.begin(), line.end(), '\n', ' ');
  return line;
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

std::string quoted_after(std::string_view text, std::string_view label) {
  const auto at = text.find(label);
  if (at == std::string_view::npos) return {};
  const auto begin = at + label.size();
  const auto end = text.find('"', begin);
  return end == std::string_view::npos ? std::string() : std::string(text.substr(begin, end - begin));
}

// libpq tells no SQLSTATE of a connection that was refused; the messages are those of the server's
// src/backend/postmaster and libpq/auth.c and are not translated for a session that does not exist yet, unless
// lc_messages says so.
PgConnection::Failure connect_failure(const std::string& text, const std::string& subject) {
  PgConnection::Failure failure;
  failure.error = Error{Errc::Unavailable, "cannot connect to PostgreSQL", subject, text, {}};
  if (contains(text, "starting up") || contains(text, "shutting down") || contains(text, "recovery mode") ||
      contains(text, "not accepting") || contains(text, "not yet accepting")) {
    failure.error.code = Errc::Refused;
    failure.sqlstate = std::string(kCannotConnectNow);
  } else if (contains(text, "pg_hba.conf")) {
    failure.error.code = Errc::Unauthorized;
    failure.error.remedy = hba_hint(text);
    failure.sqlstate = "28000";
  } else if (contains(text, "authentication failed") || contains(text, "no password supplied")) {
    failure.error.code = Errc::Unauthorized;
    failure.sqlstate = "28P01";
  } else if (contains(text, "FATAL")) {
    failure.error.code = Errc::Refused;
  }
  return failure;
}

// Waits until the socket can be read or written; false: the deadline has passed.
Task<bool> wait_socket(Clock& clock, int socket, bool for_write, TimePoint deadline) {
  struct Waiting {
    Waiting(Clock& c, int fd) : descriptor(c.executor(), fd), ready(c) {}
    asio::posix::stream_descriptor descriptor;
    Signal ready;
    bool done = false;
  };
  const int copy = dup(socket);
  if (copy < 0) co_return false;
  auto waiting = std::make_shared<Waiting>(clock, copy);
  const auto kind = for_write ? asio::posix::stream_descriptor::wait_write : asio::posix::stream_descriptor::wait_read;
  waiting->descriptor.async_wait(kind, [waiting](const boost::system::error_code&) {
    waiting->done = true;
    waiting->ready.notify();
  });
  bool in_time = true;
  while (!waiting->done && in_time) in_time = co_await waiting->ready.wait_until(deadline);
  const bool done = waiting->done;
  boost::system::error_code ignored;
  waiting->descriptor.close(ignored);
  co_return done;
}

// libpq resolves names in the calling thread; Asio does it beside the loop. Only a single host name is resolved here.
Task<std::string> resolve(Clock& clock, std::string host, TimePoint deadline) {
  struct Lookup {
    explicit Lookup(Clock& c) : resolver(c.executor()), ready(c) {}
    asio::ip::tcp::resolver resolver;
    Signal ready;
    bool done = false;
    std::string address;
  };
  boost::system::error_code numeric;
  asio::ip::make_address(host, numeric);
  if (!numeric || host.empty() || host.front() == '/' || host.find(',') != std::string::npos || host == "localhost") {
    co_return std::string();
  }
  auto lookup = std::make_shared<Lookup>(clock);
  lookup->resolver.async_resolve(host, "", [lookup](const boost::system::error_code& error, const auto& results) {
    if (!error && !results.empty()) lookup->address = results.begin()->endpoint().address().to_string();
    lookup->done = true;
    lookup->ready.notify();
  });
  while (!lookup->done) {
    if (!co_await lookup->ready.wait_until(deadline)) break;
  }
  lookup->resolver.cancel();
  co_return lookup->address;
}

std::string session_options(const PgConnection::Options& options) {
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(options.statement_timeout).count();
  std::string text = fmt::format("-c statement_timeout={} -c search_path=pg_catalog", milliseconds);
  for (const auto& [name, value] : options.settings) {
    text += " -c " + name + "=";
    for (const char c : value) {
      if (c == ' ' || c == '\\') text += '\\';
      text += c;
    }
  }
  return text;
}

QueryResult result_of(PGresult* result) {
  QueryResult out;
  out.command_tag = PQcmdStatus(result);
  const int columns = PQnfields(result);
  for (int c = 0; c < columns; ++c) out.columns.emplace_back(PQfname(result, c));
  for (int r = 0; r < PQntuples(result); ++r) {
    Row row;
    for (int c = 0; c < columns; ++c) {
      if (PQgetisnull(result, r, c) != 0) {
        row.emplace_back(std::nullopt);
      } else {
        row.emplace_back(std::string(PQgetvalue(result, r, c), static_cast<std::size_t>(PQgetlength(result, r, c))));
      }
    }
    out.rows.push_back(std::move(row));
  }
  return out;
}

}  // namespace

std::string QueryResult::text(std::size_t row, std::string_view column) const {
  const auto found = std::find(columns.begin(), columns.end(), column);
  if (found == columns.end() || row >= rows.size()) return {};
  return rows[row][static_cast<std::size_t>(found - columns.begin())].value_or(std::string());
}

bool QueryResult::is_null(std::size_t row, std::string_view column) const {
  const auto found = std::find(columns.begin(), columns.end(), column);
  if (found == columns.end() || row >= rows.size()) return true;
  return !rows[row][static_cast<std::size_t>(found - columns.begin())].has_value();
}

class PgConnection::Wire {
 public:
  Wire(Clock& clock, std::string subject) : clock_(clock), subject_(std::move(subject)) {}
  ~Wire() {
    if (connection_ != nullptr) PQfinish(connection_);
  }
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  Task<Outcome<void>> connect(Conninfo where, Options options, TimePoint deadline);
  Task<Outcome<std::vector<QueryResult>>> results(TimePoint deadline);
  Failure broken(Errc code, std::string cause) {
    usable_ = false;
    return {Error{code, "lost the connection to PostgreSQL", subject_, std::move(cause), {}}, {}};
  }
  [[nodiscard]] std::string last_error() const { return one_line(PQerrorMessage(connection_)); }

  Clock& clock_;
  std::string subject_;
  PGconn* connection_ = nullptr;
  bool usable_ = false;
};

Task<PgConnection::Outcome<void>> PgConnection::Wire::connect(Conninfo where, Options options, TimePoint deadline) {
  const std::string address = co_await resolve(clock_, where.get("host"), deadline);
  if (!address.empty()) where.values["hostaddr"] = address;
  where.values["application_name"] = options.application_name;
  where.values["options"] = session_options(options);
  where.values["client_encoding"] = "UTF8";
  if (!where.password.empty()) where.values["password"] = where.password.reveal();
  if (!where.sslpassword.empty()) where.values["sslpassword"] = where.sslpassword.reveal();
  std::vector<const char*> keywords;
  std::vector<const char*> values;
  for (const auto& [keyword, value] : where.values) {
    if (value.empty()) continue;
    keywords.push_back(keyword.c_str());
    values.push_back(value.c_str());
  }
  keywords.push_back(nullptr);
  values.push_back(nullptr);
  connection_ = PQconnectStartParams(keywords.data(), values.data(), 0);
  PGV_ASSERT(connection_ != nullptr);
  PQsetNoticeProcessor(
      connection_, [](void*, const char*) {}, nullptr);
  PostgresPollingStatusType step =
      PQstatus(connection_) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
  while (step == PGRES_POLLING_READING || step == PGRES_POLLING_WRITING) {
    if (!co_await wait_socket(clock_, PQsocket(connection_), step == PGRES_POLLING_WRITING, deadline)) {
      Failure failure{Error{Errc::Timeout, "cannot connect to PostgreSQL", subject_, "no answer in time", {}}, {}};
      co_return tl::make_unexpected(std::move(failure));
    }
    step = PQconnectPoll(connection_);
  }
  if (step != PGRES_POLLING_OK) co_return tl::make_unexpected(connect_failure(last_error(), subject_));
  PQsetnonblocking(connection_, 1);
  usable_ = true;
  co_return Outcome<void>();
}

Task<PgConnection::Outcome<std::vector<QueryResult>>> PgConnection::Wire::results(TimePoint deadline) {
  for (int flushed = PQflush(connection_); flushed != 0; flushed = PQflush(connection_)) {
    if (flushed < 0) co_return tl::make_unexpected(broken(Errc::Unavailable, last_error()));
    if (!co_await wait_socket(clock_, PQsocket(connection_), true, deadline)) {
      co_return tl::make_unexpected(broken(Errc::Timeout, "no answer in time"));
    }
  }
  std::vector<QueryResult> all;
  std::optional<Failure> failure;
  for (;;) {
    while (PQisBusy(connection_) != 0) {
      if (!co_await wait_socket(clock_, PQsocket(connection_), false, deadline)) {
        co_return tl::make_unexpected(broken(Errc::Timeout, "no answer in time"));
      }
      if (PQconsumeInput(connection_) == 0) co_return tl::make_unexpected(broken(Errc::Unavailable, last_error()));
    }
    PGresult* result = PQgetResult(connection_);
    if (result == nullptr) break;
    const auto status = PQresultStatus(result);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY) {
      all.push_back(result_of(result));
    } else if (!failure) {
      const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
      failure = Failure{
          Error{Errc::Refused, "PostgreSQL refused a statement", subject_, one_line(PQresultErrorMessage(result)), {}},
          state != nullptr ? state : ""};
    }
    PQclear(result);
    if (status == PGRES_COPY_OUT || status == PGRES_COPY_IN || status == PGRES_COPY_BOTH) {
      co_return tl::make_unexpected(broken(Errc::Failed, "unexpected COPY"));
    }
  }
  if (PQstatus(connection_) != CONNECTION_OK) usable_ = false;
  if (failure) co_return tl::make_unexpected(std::move(*failure));
  co_return all;
}

PgConnection::PgConnection(std::unique_ptr<Wire> wire) : wire_(std::move(wire)) {}
PgConnection::~PgConnection() = default;

Task<PgConnection::Outcome<std::unique_ptr<PgConnection>>> PgConnection::open(Clock& clock, Conninfo where,
                                                                              Options options, TimePoint deadline) {
  std::string subject = fmt::format("{}:{}", where.get("host"), where.get("port"));
  auto wire = std::make_unique<Wire>(clock, std::move(subject));
  auto connected = co_await wire->connect(std::move(where), std::move(options), deadline);
  if (!connected) co_return tl::make_unexpected(std::move(connected.error()));
  co_return std::unique_ptr<PgConnection>(new PgConnection(std::move(wire)));
}

Task<PgConnection::Outcome<QueryResult>> PgConnection::query(std::string sql, Row parameters, TimePoint deadline) {
  std::vector<const char*> values;
  values.reserve(parameters.size());
  for (const auto& parameter : parameters) values.push_back(parameter ? parameter->c_str() : nullptr);
  if (PQsendQueryParams(wire_->connection_, sql.c_str(), static_cast<int>(values.size()), nullptr, values.data(),
                        nullptr, nullptr, 0) == 0) {
    co_return tl::make_unexpected(wire_->broken(Errc::Unavailable, wire_->last_error()));
  }
  auto all = co_await wire_->results(deadline);
  if (!all) co_return tl::make_unexpected(std::move(all.error()));
  if (all->empty()) co_return QueryResult();
  co_return std::move(all->front());
}

Task<PgConnection::Outcome<std::vector<QueryResult>>> PgConnection::batch(std::string sql, TimePoint deadline) {
  if (PQsendQuery(wire_->connection_, sql.c_str()) == 0) {
    co_return tl::make_unexpected(wire_->broken(Errc::Unavailable, wire_->last_error()));
  }
  co_return co_await wire_->results(deadline);
}

bool PgConnection::usable() const { return wire_->usable_ && PQstatus(wire_->connection_) == CONNECTION_OK; }
int PgConnection::server_version() const { return PQserverVersion(wire_->connection_); }

std::string PgConnection::quote_identifier(const std::string& name) const {
  char* quoted = PQescapeIdentifier(wire_->connection_, name.data(), name.size());
  std::string text = quoted != nullptr ? quoted : "";
  PQfreemem(quoted);
  return text;
}

std::string PgConnection::quote_literal(const std::string& value) const {
  char* quoted = PQescapeLiteral(wire_->connection_, value.data(), value.size());
  std::string text = quoted != nullptr ? quoted : "";
  PQfreemem(quoted);
  return text;
}

Result<Secret> PgConnection::scram_verifier(const std::string& user, const Secret& password) const {
  char* verifier = PQencryptPasswordConn(wire_->connection_, password.reveal().c_str(), user.c_str(), "scram-sha-256");
  if (verifier == nullptr) return fail(Errc::Failed, "cannot compute the SCRAM verifier", user, wire_->last_error());
  Secret secret{std::string(verifier)};
  PQfreemem(verifier);
  return secret;
}

std::string hba_hint(std::string_view server_message) {
  if (server_message.find("no pg_hba.conf entry") == std::string_view::npos) return {};
  const std::string host = quoted_after(server_message, "host \"");
  const std::string user = quoted_after(server_message, "user \"");
  if (host.empty() || user.empty()) return {};
  const bool replication = server_message.find("replication connection") != std::string_view::npos;
  const std::string database = replication ? "replication" : quoted_after(server_message, "database \"");
  const char* kind = server_message.find("no encryption") != std::string_view::npos ? "host" : "hostssl";
  const char* bits = host.find(':') == std::string::npos ? "/32" : "/128";
  return fmt::format("add this line to postgresql.pg_hba of the server: {} {} {} {}{} scram-sha-256", kind, database,
                     user, host, bits);
}

}  // namespace pgvigil::postgres
