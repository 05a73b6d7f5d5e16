// `query`: SQL on a member, through libpq.
#include <iostream>
#include <iterator>
#include <thread>

#include "config/yaml_reader.h"
#include "ctl/sql.h"
#include "ctl/verbs.h"

namespace pgvigil::ctl {
namespace {

std::string text_of(const QueryOptions& options) {
  if (options.command.empty() == options.file.empty()) {
    throw CommandError{options.file.empty() ? "You need to specify either --command or --file"
                                            : "--file and --command are mutually exclusive options"};
  }
  if (!options.command.empty()) return options.command;
  if (options.file == "-") return {std::istreambuf_iterator<char>(std::cin), {}};
  auto text = config::read_small_file(options.file);
  if (!text) throw CommandError{text.error().message()};
  return *text;
}

Connection connect(const Member& member, const QueryOptions& options) {
  return open_connection({{"host", member.host},
                          {"port", std::to_string(member.port)},
                          {"dbname", options.dbname.empty() ? "postgres" : options.dbname},
                          {"application_name", "pgvigil query"},
                          {"connect_timeout", "10"},
                          {"user", options.username},
                          {"password", options.password}});
}

void print_error(const QueryOptions& options, const std::string& text) {
  fmt::print("{}{}{}\n", now_text(), options.delimiter, text);
}

void print_rows(const PGresult* rows, const QueryOptions& options) {
  Table table;
  const int columns = PQnfields(rows);
  for (int c = 0; c < columns; ++c) {
    const std::string name = PQfname(rows, c);
    table.columns.push_back({name, name, false, false});
  }
  for (int r = 0; r < PQntuples(rows); ++r) {
    std::vector<std::string> row;
    for (int c = 0; c < columns; ++c) row.emplace_back(PQgetvalue(rows, r, c));
    table.rows.push_back(std::move(row));
  }
  if (options.format != Format::Tsv || options.delimiter == "\t") {
    fmt::print("{}", render(table, options.format));
    return;
  }
  const auto line = [&](const auto& cells, auto text) {
    for (std::size_t c = 0; c < cells.size(); ++c) {
      if (c > 0) fmt::print("{}", options.delimiter);
      fmt::print("{}", text(cells[c]));
    }
    fmt::print("\n");
  };
  line(table.columns, [](const Column& column) { return column.name; });
  for (const auto& row : table.rows) line(row, [](const std::string& cell) { return cell; });
}

// As patronictl: what the server or the network says is output, not a failure of the command.
void run_once(Context& context, const QueryOptions& options, const std::string& sql) {
  const auto view = context.view();
  std::vector<std::string> names;
  if (!options.member.empty()) names.push_back(options.member);
  const std::string role = options.member.empty() && options.role.empty() ? "primary" : options.role;
  const Member& member = *select(*view, role.empty() ? "any" : role, names).front();
  const auto connection = connect(member, options);
  if (PQstatus(connection.get()) != CONNECTION_OK) {
    print_error(options, fmt::format("No connection to member {} is available: {}", member.name.text(),
                                     one_line(PQerrorMessage(connection.get()))));
    return;
  }
  const Rows rows(PQexec(connection.get(), sql.c_str()), PQclear);
  switch (PQresultStatus(rows.get())) {
    case PGRES_TUPLES_OK: print_rows(rows.get(), options); return;
    case PGRES_COMMAND_OK:
    case PGRES_EMPTY_QUERY: fmt::print("{}\n", PQcmdStatus(rows.get())); return;
    default: {
      const char* state = PQresultErrorField(rows.get(), PG_DIAG_SQLSTATE);
      print_error(options, fmt::format("ERROR, SQLSTATE: {}", state != nullptr ? state : "08006"));
      fmt::print(stderr, "{}\n", one_line(PQerrorMessage(connection.get())));
    }
  }
}

}  // namespace

void query(Context& context, QueryOptions options, std::optional<double> watch) {
  if (!options.member.empty() && !options.role.empty())
    throw CommandError{"--role and --member are mutually exclusive options"};
  const std::string sql = text_of(options);
  if (options.ask_password) options.password = ask_password();
  for (;;) {
    run_once(context, options, sql);
    std::fflush(stdout);
    if (!watch) return;
    std::this_thread::sleep_for(std::chrono::duration<double>(*watch));
  }
}

}  // namespace pgvigil::ctl
