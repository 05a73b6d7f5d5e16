#include "postgres/monitor.h"

#include <algorithm>
#include <charconv>
#include <sstream>

#include "postgres/pending_restart.h"
#include "postgres/slots.h"

namespace pgvigil::postgres {
namespace {

// Functions that exist on one side of recovery only stand in CASE branches: they are evaluated for the branch taken.
constexpr std::string_view kMainSql =
    "SELECT pg_is_in_recovery() AS in_recovery,"
    " to_char(pg_postmaster_start_time(), 'YYYY-MM-DD HH24:MI:SS.USTZH:TZM') AS started,"
    " CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_current_wal_flush_lsn() END AS flushed,"
    " CASE WHEN pg_is_in_recovery() THEN NULL ELSE"
    " ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint END AS timeline,"
    " pg_last_wal_receive_lsn() AS received, pg_last_wal_replay_lsn() AS replayed,"
    " to_char(pg_last_xact_replay_timestamp(), 'YYYY-MM-DD HH24:MI:SS.USTZH:TZM') AS replayed_at,"
    " CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END AS replay_paused,"
    " current_setting('restore_command') AS restore_command,"
    " current_setting('max_connections') AS max_connections,"
    " current_setting('max_worker_processes') AS max_worker_processes,"
    " current_setting('max_wal_senders') AS max_wal_senders,"
    " current_setting('max_prepared_transactions') AS max_prepared_transactions,"
    " current_setting('max_locks_per_transaction') AS max_locks_per_transaction,"
    " current_setting('synchronous_standby_names') AS sync_names, current_setting('synchronous_commit') AS sync_commit,"
    " r.status AS receiver_status, r.{} AS receiver_written, r.latest_end_lsn, r.received_tli,"
    " r.sender_host, r.sender_port"
    " FROM (SELECT 1) one LEFT JOIN pg_stat_get_wal_receiver() r ON r.pid IS NOT NULL;";
constexpr std::string_view kSendersSql =
    "SELECT usename, application_name, client_addr, state, sync_state, sync_priority, sent_lsn, write_lsn, flush_lsn,"
    " replay_lsn FROM pg_stat_replication;";
Lsn lsn_of(const QueryResult& rows, std::size_t row, std::string_view column) {
  return parse_lsn(rows.text(row, column)).value_or(Lsn());
}

template <class Number>
Number number_of(const std::string& text) {
  Number number{};
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

// Since version 14 a hot standby that reads in the WAL of higher limits pauses, where it ended before ("Hot Standby",
// administrator's overview). The control file has them by then; whoever paused by hand has nothing of the kind.
bool lacks_limits(const QueryResult& rows, const ControlData& control) {
  const auto below = [&rows](std::string_view name, std::uint32_t needed) {
    return number_of<std::uint32_t>(rows.text(0, name)) < needed;
  };
  return below("max_connections", control.max_connections) ||
         below("max_worker_processes", control.max_worker_processes) ||
         below("max_wal_senders", control.max_wal_senders) ||
         below("max_prepared_transactions", control.max_prepared_transactions) ||
         below("max_locks_per_transaction", control.max_locks_per_transaction);
}

void fill_main(const QueryResult& rows, Instance& instance) {
  instance.in_recovery = rows.text(0, "in_recovery") == "t";
  instance.postmaster_start_time = rows.text(0, "started");
  instance.flushed = lsn_of(rows, 0, "flushed");
  instance.received = std::max(lsn_of(rows, 0, "received"), lsn_of(rows, 0, "receiver_written"));
  instance.replayed = lsn_of(rows, 0, "replayed");
  instance.latest_end = lsn_of(rows, 0, "latest_end_lsn");
  instance.replayed_timestamp = rows.text(0, "replayed_at");
  instance.synchronous_standby_names = rows.text(0, "sync_names");
  instance.synchronous_commit = rows.text(0, "sync_commit");
  instance.replay_paused = rows.text(0, "replay_paused") == "t";
  instance.replay_needs_restart = instance.replay_paused && instance.control && lacks_limits(rows, *instance.control);
  const bool streaming = rows.text(0, "receiver_status") == "streaming";
  instance.replication_state.clear();
  if (instance.in_recovery) {
    if (streaming) {
      instance.replication_state = "streaming";
    } else if (!rows.text(0, "restore_command").empty()) {
      instance.replication_state = "in archive recovery";
    }
  }
  if (const std::string host = rows.text(0, "sender_host"); !host.empty()) {
    instance.upstream_conninfo = host + ":" + rows.text(0, "sender_port");
  }
  instance.timeline = Timeline();
  if (!instance.in_recovery) {
    instance.timeline = Timeline(number_of<std::uint32_t>(rows.text(0, "timeline")));
  } else if (instance.latest_end.known()) {
    instance.timeline = Timeline(number_of<std::uint32_t>(rows.text(0, "received_tli")));
  }
}

void fill_senders(const QueryResult& rows, Instance& instance) {
  instance.wal_senders.clear();
  for (std::size_t i = 0; i < rows.rows.size(); ++i) {
    WalSender sender;
    sender.user = rows.text(i, "usename");
    sender.application_name = rows.text(i, "application_name");
    sender.client_address = rows.text(i, "client_addr");
    sender.state = rows.text(i, "state");
    sender.sync_state = rows.text(i, "sync_state");
    sender.sync_priority = number_of<int>(rows.text(i, "sync_priority"));
    sender.sent = lsn_of(rows, i, "sent_lsn");
    sender.written = lsn_of(rows, i, "write_lsn");
    sender.flushed = lsn_of(rows, i, "flush_lsn");
    sender.replayed = lsn_of(rows, i, "replay_lsn");
    instance.wal_senders.push_back(std::move(sender));
  }
}

}  // namespace

Task<Result<SystemIdentity>> identify_system(PgConnection& walsender, TimePoint deadline) {
  std::string sql = "IDENTIFY_SYSTEM";
  auto answer = co_await walsender.batch(std::move(sql), deadline);
  if (!answer) co_return tl::make_unexpected(std::move(answer.error().error));
  if (answer->empty() || answer->front().rows.empty()) {
    co_return fail(Errc::Failed, "IDENTIFY_SYSTEM gave no row");
  }
  const auto& rows = answer->front();
  co_return SystemIdentity{SystemId(rows.text(0, "systemid")),
                           Timeline(number_of<std::uint32_t>(rows.text(0, "timeline"))), lsn_of(rows, 0, "xlogpos")};
}

Result<std::vector<TimelineSwitch>> parse_timeline_history(std::string_view text) {
  std::vector<TimelineSwitch> switches;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    const auto begin = line.find_first_not_of(" \t\r");
    if (begin == std::string::npos || line[begin] == '#') continue;
    std::istringstream fields(line);
    std::uint32_t timeline = 0;
    std::string position;
    fields >> timeline >> position;
    const auto lsn = parse_lsn(position);
    if (timeline == 0 || !lsn) return fail(Errc::Failed, "cannot understand a timeline history", {}, line);
    std::string reason;
    std::getline(fields >> std::ws, reason);
    switches.push_back({Timeline(timeline), *lsn, reason});
  }
  return switches;
}

Task<Result<std::vector<TimelineSwitch>>> timeline_history(PgConnection& walsender, Timeline timeline,
                                                           TimePoint deadline) {
  if (timeline.value() <= 1) co_return std::vector<TimelineSwitch>();
  std::string sql = fmt::format("TIMELINE_HISTORY {}", timeline.value());
  auto answer = co_await walsender.batch(std::move(sql), deadline);
  if (!answer) co_return tl::make_unexpected(std::move(answer.error().error));
  if (answer->empty() || answer->front().rows.empty()) co_return fail(Errc::Failed, "TIMELINE_HISTORY gave no row");
  std::string content = answer->front().text(0, "content");
  if (content.starts_with("\\x")) {  // bytea to clients that ask for hexadecimal
    std::string bytes;
    for (std::size_t i = 2; i + 1 < content.size(); i += 2) {
      unsigned byte = 0;
      std::from_chars(content.data() + i, content.data() + i + 2, byte, 16);
      bytes += static_cast<char>(byte);
    }
    content = std::move(bytes);
  }
  co_return parse_timeline_history(content);
}

Task<Result<LeaderHistory>> read_leader_history(Clock& clock, const config::PostgresConfig& config, Upstream leader,
                                                TimePoint deadline) {
  PgConnection::Options options;
  options.application_name = "Patroni heartbeat";
  auto query_options = options;
  Conninfo sql_conninfo = upstream_conninfo(config, rewind_credentials(config), leader, false);
  Conninfo replication_conninfo = upstream_conninfo(config, config.replication, leader, true);
  auto sql_connection = co_await PgConnection::open(clock, std::move(sql_conninfo), std::move(query_options), deadline);
  if (!sql_connection) co_return tl::make_unexpected(std::move(sql_connection.error().error));
  std::string sql = "SELECT pg_is_in_recovery() AS in_recovery";
  Row none;
  auto state = co_await (*sql_connection)->query(std::move(sql), std::move(none), deadline);
  if (!state) co_return tl::make_unexpected(std::move(state.error().error));
  LeaderHistory history;
  history.in_recovery = state->text(0, "in_recovery") == "t";
  auto walsender = co_await PgConnection::open(clock, std::move(replication_conninfo), std::move(options), deadline);
  if (!walsender) co_return tl::make_unexpected(std::move(walsender.error().error));
  auto identity = co_await identify_system(**walsender, deadline);
  if (!identity) co_return tl::make_unexpected(std::move(identity.error()));
  history.system_id = identity->system_id;
  history.timeline = identity->timeline;
  auto switches = co_await timeline_history(**walsender, identity->timeline, deadline);
  if (!switches) co_return tl::make_unexpected(std::move(switches.error()));
  history.switches = std::move(*switches);
  co_return history;
}

void Monitor::forget() { cached_for_.clear(); }

void Monitor::say_once(const std::string& message) {
  if (message == last_said_) return;
  last_said_ = message;
  if (!message.empty()) log_.warning("{}", message);
}

Task<Timeline> Monitor::standby_timeline(LocalSession& session, const Instance& instance, TimePoint deadline) {
  const std::string key = to_string(instance.replayed);
  if (key == cached_for_) co_return cached_timeline_;
  auto walsender = co_await session.open_replication(deadline);
  if (!walsender) {
    say_once(fmt::format("the timeline of this standby is not known: {}", walsender.error().error.message()));
    co_return Timeline();
  }
  auto identity = co_await identify_system(**walsender, deadline);
  if (!identity) co_return Timeline();
  cached_for_ = key;
  cached_timeline_ = identity->timeline;
  co_return cached_timeline_;
}

Task<Instance> Monitor::read(LocalSession& session, Instance known, TimePoint deadline) {
  Instance instance = std::move(known);
  // written_lsn and flushed_lsn replaced received_lsn in version 13, the oldest that is supported.
  std::string sql = fmt::format(fmt::runtime(kMainSql), "written_lsn");
  sql += kSendersSql;
  sql += slots_sql() + ";";
  sql += pending_restart_sql();
  auto answers = co_await session.batch(std::move(sql), deadline);
  if (!answers) {
    const auto& failure = answers.error();
    const bool refuses = failure.sqlstate == kCannotConnectNow || failure.error.code == Errc::Unavailable;
    instance.postmaster = refuses ? PostmasterState::Starting : PostmasterState::Unresponsive;
    if (!refuses) say_once(failure.error.message());
    co_return instance;
  }
  PGV_ASSERT(answers->size() == 4);
  instance.postmaster = PostmasterState::Running;
  instance.server_version = session.server_version();
  fill_main((*answers)[0], instance);
  fill_senders((*answers)[1], instance);
  instance.slots = slots_of((*answers)[2]);
  instance.pending_restart = pending_restart_of((*answers)[3]);
  if (instance.in_recovery && !instance.timeline.known()) {
    instance.timeline = co_await standby_timeline(session, instance, deadline);
  } else {
    say_once({});
  }
  co_return instance;
}

}  // namespace pgvigil::postgres
