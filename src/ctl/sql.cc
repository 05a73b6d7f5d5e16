#include "ctl/sql.h"

#include <fmt/format.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <iostream>

#include "ctl/context.h"

namespace pgvigil::ctl {
namespace {

// False: the socket was not ready in time.
bool wait_readable(int socket, std::chrono::steady_clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  pollfd wanted{socket, POLLIN, 0};
  return left.count() > 0 && poll(&wanted, 1, static_cast<int>(left.count())) > 0;
}

}  // namespace

Connection open_connection(const ConnectionParameters& parameters) {
  std::vector<const char*> names, values;
  for (const auto& [name, value] : parameters) {
    if (value.empty()) continue;
    names.push_back(name.c_str());
    values.push_back(value.c_str());
  }
  names.push_back(nullptr);
  values.push_back(nullptr);
  return {PQconnectdbParams(names.data(), values.data(), 0), PQfinish};
}

Rows run_sql(PGconn* connection, const std::string& sql, Duration patience) {
  Rows last(nullptr, PQclear);
  if (PQsendQuery(connection, sql.c_str()) == 0) return last;
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (;;) {
    while (PQisBusy(connection) != 0) {
      if (!wait_readable(PQsocket(connection), deadline) || PQconsumeInput(connection) == 0) {
        return {nullptr, PQclear};
      }
    }
    PGresult* next = PQgetResult(connection);
    if (next == nullptr) return last;
    last.reset(next);
  }
}

bool is_done(const Rows& rows) {
  const auto status = PQresultStatus(rows.get());
  return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

std::string sql_error(const PGconn* connection, const Rows& rows) {
  const char* state = rows ? PQresultErrorField(rows.get(), PG_DIAG_SQLSTATE) : nullptr;
  const std::string text = one_line(rows ? PQresultErrorMessage(rows.get()) : PQerrorMessage(connection));
  if (text.empty()) return "no answer in time";
  return state != nullptr ? fmt::format("{} (SQLSTATE {})", text, state) : text;
}

std::string one_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  for (char& c : text) c = c == '\n' ? ' ' : c;
  return text;
}

std::string ask_password() {
  termios before{};
  const bool terminal = tcgetattr(STDIN_FILENO, &before) == 0;
  termios silent = before;
  silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  if (terminal) tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
  fmt::print("Password: ");
  std::fflush(stdout);
  std::string password;
  const bool read = static_cast<bool>(std::getline(std::cin, password));
  if (terminal) {
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    fmt::print("\n");
  }
  if (!read) throw CommandError{"Aborted!"};
  return password;
}

}  // namespace pgvigil::ctl
