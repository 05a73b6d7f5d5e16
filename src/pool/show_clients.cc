// SHOW CLIENTS, SERVERS, SOCKETS and ACTIVE_SOCKETS.
#include <fmt/format.h>

#include <ctime>
#include <map>

#include "pool/show.h"

namespace pgvigil::pool {
namespace {

using pgwire::kInt4;
using pgwire::kText;

// Wall-clock text of a reading of the other clock. Rows share seconds: each is formatted once.
class Times {
 public:
  explicit Times(const Snapshot& snapshot) : now_(snapshot.now), wall_(snapshot.wall) {}
  Cell text(TimePoint at) {
    if (at == TimePoint()) return std::string();
    const auto ago = std::chrono::duration_cast<std::chrono::microseconds>(now_ - at);
    const std::time_t second = std::chrono::system_clock::to_time_t(wall_ - ago);
    std::string& text = known_[second];
    if (text.empty()) {
      std::tm parts{};
      localtime_r(&second, &parts);
      std::array<char, 64> out{};
      text.assign(out.data(), std::strftime(out.data(), out.size(), "%Y-%m-%d %H:%M:%S %Z", &parts));
    }
    return text;
  }

 private:
  TimePoint now_;
  WallTime wall_;
  std::map<std::time_t, std::string> known_;
};

// What log lines call a connection, so that the two can be put together; PgBouncer's is its address in memory.
std::string pointer(std::uint64_t id) { return id == 0 ? std::string() : fmt::format("0x{:x}", id); }

std::string_view text(ReplicationKind kind) {
  switch (kind) {
    case ReplicationKind::None: return "none";
    case ReplicationKind::Logical: return "logical";
    case ReplicationKind::Physical: return "physical";
  }
  return "none";
}

std::string_view client_state(ClientFact::State state, bool as_socket) {
  switch (state) {
    case ClientFact::State::Login: return as_socket ? "cl_login" : "login";
    case ClientFact::State::Idle: return as_socket ? "cl_active" : "idle";
    case ClientFact::State::Active: return as_socket ? "cl_active" : "active";
    case ClientFact::State::Waiting: return as_socket ? "cl_waiting" : "waiting";
  }
  return "idle";
}

std::string_view server_state(ServerState state, bool as_socket) {
  switch (state) {
    case ServerState::Login: return as_socket ? "sv_login" : "new";
    case ServerState::Idle: return as_socket ? "sv_idle" : "idle";
    case ServerState::Active: return as_socket ? "sv_active" : "active";
    case ServerState::Used: return as_socket ? "sv_used" : "used";
    case ServerState::Tested: return as_socket ? "sv_tested" : "tested";
    case ServerState::BeingCanceled: return as_socket ? "sv_being_canceled" : "being_canceled";
    case ServerState::Closed: return "closed";
  }
  return "closed";
}

void add_wait(std::vector<Cell>& row, TimePoint now, TimePoint since) {
  const auto us = since == TimePoint() || since > now ? 0 : static_cast<std::int64_t>(micros(now - since));
  row.push_back(cell(us / 1000000));
  row.push_back(cell(us % 1000000));
}

// What the socket tables have in addition: buffers are not kept for a connection, except for what the peer has yet to
// take.
void add_buffers(std::vector<Cell>& row, std::size_t unsent) {
  for (int i = 0; i < 3; ++i) row.push_back(cell(0));
  row.push_back(cell(0));
  row.push_back(cell(unsent));
  row.push_back(cell(0));
  row.push_back(cell(unsent));
}

std::vector<Cell> client_row(const ClientFact& client, const Snapshot& snapshot, Times& times, bool as_socket) {
  const bool unix_socket = client.address.address.kind == poolcfg::PeerAddress::Kind::Unix;
  std::vector<Cell> row;
  row.reserve(28);
  row = {cell("C"),
         cell(client.user.empty() ? "(nouser)" : client.user),
         cell(client.database.empty() ? "(nodb)" : client.database),
         cell(text(client.replication)),
         cell(client_state(client.state, as_socket)),
         cell(unix_socket ? std::string("unix") : client.address.ip()),
         cell(unix_socket ? client.listen_port : client.address.port),
         cell(unix_socket    ? std::string("unix")
              : client.local ? client.local->ip()
                             : std::string()),
         cell(client.listen_port),
         times.text(client.connected_at),
         times.text(client.last_activity == TimePoint() ? client.connected_at : client.last_activity)};
  add_wait(row, snapshot.now, client.query_started);
  row.push_back(cell(0));
  row.push_back(pointer(client.id));
  row.push_back(pointer(client.link));
  row.push_back(cell(client.address.pid));
  row.push_back(cell(client.tls));
  row.push_back(cell(client.application_name));
  row.push_back(cell(client.statements));
  row.push_back(cell(client.id));
  if (as_socket) add_buffers(row, client.unsent);
  return row;
}

std::vector<Cell> server_row(const ServerFact& server, const Snapshot& snapshot, Times& times, bool as_socket) {
  const bool unix_socket = server.address.unix_socket();
  std::vector<Cell> row;
  row.reserve(28);
  row = {cell("S"),
         cell(server.user.empty() ? "(nouser)" : server.user),
         cell(server.database.empty() ? "(nodb)" : server.database),
         cell(text(server.replication)),
         cell(server_state(server.state, as_socket)),
         cell(server.address.ip()),
         cell(server.address.port()),
         cell(unix_socket    ? std::string("unix")
              : server.local ? server.local->ip()
                             : std::string()),
         cell(server.local ? server.local->port() : 0),
         times.text(server.connected_at),
         times.text(server.last_activity == TimePoint() ? server.connected_at : server.last_activity)};
  add_wait(row, snapshot.now, server.query_started);
  row.push_back(cell(server.close_needed));
  row.push_back(pointer(server.id));
  row.push_back(pointer(server.link));
  // The column is an int4: a process id that does not fit would break a driver.
  row.push_back(cell(server.remote_pid & 0x7FFFFFFFU));
  row.push_back(cell(server.tls));
  row.push_back(cell(server.application_name));
  row.push_back(cell(server.statements));
  row.push_back(cell(server.id));
  if (as_socket) add_buffers(row, server.unsent);
  return row;
}

Rows clients(const Snapshot& snapshot) {
  Rows rows;
  Times times(snapshot);
  rows.reserve(snapshot.clients.size());
  for (const ClientFact& client : snapshot.clients) {
    if (client.state == ClientFact::State::Login) continue;
    rows.push_back(client_row(client, snapshot, times, false));
  }
  return rows;
}

Rows servers(const Snapshot& snapshot) {
  Rows rows;
  Times times(snapshot);
  rows.reserve(snapshot.servers.size());
  for (const ServerFact& server : snapshot.servers) rows.push_back(server_row(server, snapshot, times, false));
  return rows;
}

Rows sockets_of(const Snapshot& snapshot, bool buffered_only) {
  Rows rows;
  Times times(snapshot);
  for (const ClientFact& client : snapshot.clients) {
    if (!buffered_only || client.unsent > 0) rows.push_back(client_row(client, snapshot, times, true));
  }
  for (const ServerFact& server : snapshot.servers) {
    if (!buffered_only || server.unsent > 0) rows.push_back(server_row(server, snapshot, times, true));
  }
  return rows;
}

Rows sockets(const Snapshot& snapshot) { return sockets_of(snapshot, false); }
Rows active_sockets(const Snapshot& snapshot) { return sockets_of(snapshot, true); }

Columns connection_columns() {
  return {{"type", kText},
          {"user", kText},
          {"database", kText},
          {"replication", kText},
          {"state", kText},
          {"addr", kText},
          {"port", kInt4},
          {"local_addr", kText},
          {"local_port", kInt4},
          {"connect_time", kText},
          {"request_time", kText},
          {"wait", kInt4},
          {"wait_us", kInt4},
          {"close_needed", kInt4},
          {"ptr", kText},
          {"link", kText},
          {"remote_pid", kInt4},
          {"tls", kText},
          {"application_name", kText},
          {"prepared_statements", kInt4},
          {"id", kInt4}};
}

Columns socket_columns() {
  Columns columns = connection_columns();
  for (const char* name : {"recv_pos", "pkt_pos", "pkt_remain", "send_pos", "send_remain", "pkt_avail", "send_avail"}) {
    columns.push_back({name, kInt4});
  }
  return columns;
}

}  // namespace

const std::vector<ShowTable>& client_tables() {
  static const std::vector<ShowTable> tables = {
      {"clients", kClientFacts, connection_columns(), clients},
      {"servers", kServerFacts, connection_columns(), servers},
      {"sockets", kClientFacts | kServerFacts, socket_columns(), sockets},
      {"active_sockets", kClientFacts | kServerFacts, socket_columns(), active_sockets},
  };
  return tables;
}

}  // namespace pgvigil::pool
