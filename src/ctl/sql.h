// SQL through libpq, for `query` and `drill`.
#pragma once

#include <libpq-fe.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/time.h"

namespace pgvigil::ctl {

using Connection = std::unique_ptr<PGconn, decltype(&PQfinish)>;
using Rows = std::unique_ptr<PGresult, decltype(&PQclear)>;
using ConnectionParameters = std::vector<std::pair<std::string, std::string>>;

// Never null; PQstatus() tells whether it worked. Empty values are left out.
Connection open_connection(const ConnectionParameters& parameters);
// Not longer than `patience`: null, and the connection is of no use any more, when there was no answer.
Rows run_sql(PGconn* connection, const std::string& sql, Duration patience);
bool is_done(const Rows& rows);                                     // a command or rows, no error
std::string sql_error(const PGconn* connection, const Rows& rows);  // in one line, with its SQLSTATE
std::string one_line(std::string text);
// Not echoed where there is a terminal; also from a pipe, for scripts. Throws CommandError at the end of the input.
std::string ask_password();

}  // namespace pgvigil::ctl
