#include "pool/causal_reads.h"

#include <strings.h>

#include <algorithm>

#include "pgwire/messages.h"
#include "pool/client.h"
#include "pool/worker.h"

namespace pgvigil::pool {
namespace {

bool same(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const auto begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

// The first word, cut off the text. '=' is a word of its own.
std::string_view next_word(std::string_view& text) {
  text = trimmed(text);
  const std::size_t end = text.starts_with('=') ? 1 : std::min(text.find_first_of(" \t\r\n="), text.size());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(end);
  return word;
}

}  // namespace

std::optional<bool> parse_switch_word(std::string_view text) {
  for (const char* word : {"on", "true", "yes", "1"}) {
    if (same(text, word)) return true;
  }
  for (const char* word : {"off", "false", "no", "0"}) {
    if (same(text, word)) return false;
  }
  return std::nullopt;
}

std::optional<OwnSetting> parse_own_setting(std::string_view sql) {
  std::string_view rest = sql;
  if (!same(next_word(rest), "set")) return std::nullopt;
  std::string_view name = next_word(rest);
  if (same(name, "session")) name = next_word(rest);
  const bool causal = same(name, "causal_reads") || same(name, "pgvigil.causal_reads");
  if (!causal && !same(name, "pgvigil.after_lsn")) return std::nullopt;
  const std::string_view sign = next_word(rest);
  if (sign != "=" && !same(sign, "to")) return std::nullopt;
  std::string_view value = trimmed(rest);
  if (value.ends_with(';')) value = trimmed(value.substr(0, value.size() - 1));
  if (value.size() >= 2 && value.front() == '\'' && value.back() == '\'') value = value.substr(1, value.size() - 2);
  // More than one statement, or what only PostgreSQL can read.
  if (value.find_first_of("';") != std::string_view::npos) return std::nullopt;
  OwnSetting setting;
  if (causal) {
    setting.causal_reads = parse_switch_word(value);
    if (!setting.causal_reads) setting.problem = "causal_reads is on or off";
  } else {
    setting.after_lsn = value.empty() ? std::optional(Lsn()) : parse_lsn(value);
    if (!setting.after_lsn) setting.problem = "pgvigil.after_lsn is a position in the WAL, like '0/3000060'";
  }
  return setting;
}

Lsn replay_goal(Lsn insert_position) {
  constexpr std::uint64_t kPage = 8192, kShortHeader = 24;
  const std::uint64_t offset = insert_position.value() % kPage;
  return offset == kShortHeader ? Lsn(insert_position.value() - offset) : insert_position;
}

CausalReads::CausalReads(Client& client) : client_(client) {}

CausalReads::~CausalReads() { abandon(); }

TimePoint CausalReads::now() const { return client_.worker().now(); }

// Of the same database and user; one of its own where the client's pool is none of the leader's.
PoolShard& CausalReads::leader_shard() const {
  Worker& worker = client_.worker();
  Pool& own = client_.shard()->pool;
  const bool by_entry = own.database.entry()->role == poolcfg::ServerRole::Primary;
  const auto role = by_entry ? std::nullopt : std::optional(poolcfg::ServerRole::Primary);
  return worker.shard(worker.pooler().catalog.pool(own.database, own.user, own.forced_user, role));
}

void CausalReads::committed(const Server& server) {
  if (on_ && server.of_leader()) client_.user()->commits.fetch_add(1);
}

bool CausalReads::must_ask_leader() {
  to_leader_ = false;
  goal_ = after_;
  Worker& worker = client_.worker();
  if (client_.shard()->route == &worker.route(poolcfg::ServerRole::Primary)) {
    goal_ = Lsn();
    return false;
  }
  deadline_ = now() + worker.config().file.cluster->causal_reads_timeout;
  const std::uint64_t commits = client_.user()->commits.load();
  if (!on_ || commits == 0) return false;
  const ReplayGoal known = client_.user()->replay_goal();
  if (known.commits < commits || known.reign != worker.pooler().reign.load()) return true;
  goal_ = std::max(goal_, known.lsn);
  return false;
}

void CausalReads::ask_leader() {
  doing_ = Doing::AskingLeader;
  // Read before the question: commits that come in between are in the answer, and are asked for again.
  asked_commits_ = client_.user()->commits.load();
  asked_reign_ = client_.worker().pooler().reign.load();
  request_started = client_.request_started;
  set_timer(deadline_);
  std::optional<Refusal> refused;
  Server* server = leader_shard().take_or_queue(*this, refused);
  if (refused) {
    on_refused(*refused);
  } else if (server != nullptr) {
    on_server(*server);
  }
}

bool CausalReads::must_check(const Server& server) const {
  return goal_.known() && !server.of_leader() && server.replayed() < goal_;
}

void CausalReads::check(Server& server) {
  doing_ = Doing::Checking;
  server.hand_to(*this);
  server_ = &server;
  server.set_listener(this);
  query("SELECT pg_catalog.pg_last_wal_replay_lsn()");
}

void CausalReads::query(std::string_view sql) {
  answer_.reset();
  std::string message;
  pgwire::query(message, sql);
  server_->requests().push_back({'Q', Answer::Skip, nullptr});
  server_->send(message);
}

void CausalReads::on_server(Server& server) {
  server_ = &server;
  server.set_listener(this);
  query("SELECT pg_catalog.pg_current_wal_insert_lsn()");
}

void CausalReads::on_message(Server& server, char type, std::string_view body) {
  if (type == 'D') {
    const auto values = pgwire::parse_data_row(body);
    if (values && values->size() == 1 && (*values)[0]) answer_ = parse_lsn(*(*values)[0]);
  } else if (type == 'Z') {
    answered(server);
  }
}

void CausalReads::answered(Server& server) {
  if (doing_ == Doing::AskingLeader) {
    doing_ = Doing::Nothing;
    server_ = nullptr;
    server.release_after_this();
    set_timer(TimePoint::max());
    if (!answer_) return go_to_leader();
    const Lsn lsn = replay_goal(*answer_);
    client_.user()->learn_goal({asked_commits_, lsn, asked_reign_});
    goal_ = std::max(goal_, lsn);
    client_.take_server();
    return;
  }
  if (answer_) server.note_replayed(*answer_);
  if (answer_ && server.replayed() >= goal_) {
    doing_ = Doing::Nothing;
    server_ = nullptr;
    server.hand_to(client_);
    client_.on_server(server);
    return;
  }
  if (answer_ && now() < deadline_) {
    set_timer(std::min(now() + kAskAgain, deadline_));
    return;
  }
  doing_ = Doing::Nothing;
  server_ = nullptr;
  server.release_after_this();
  go_to_leader();
}

void CausalReads::set_timer(TimePoint when) {
  netio::Loop& loop = client_.worker().loop();
  if (timer_) loop.cancel(*std::exchange(timer_, std::nullopt));
  if (when == TimePoint::max()) return;
  timer_ = loop.call_at(when, [this] {
    timer_.reset();
    on_timer();
  });
}

void CausalReads::on_timer() {
  if (doing_ == Doing::Checking) {
    query("SELECT pg_catalog.pg_last_wal_replay_lsn()");
  } else if (doing_ == Doing::AskingLeader && server_ == nullptr) {
    leader_shard().withdraw(*this);
    doing_ = Doing::Nothing;
    go_to_leader();
  }
}

// What the leader answers is never behind.
void CausalReads::go_to_leader() {
  goal_ = Lsn();
  to_leader_ = true;
  std::optional<Refusal> refused;
  Server* server = leader_shard().take_or_queue(client_, refused);
  if (refused) {
    client_.on_refused(*refused);
  } else if (server != nullptr) {
    client_.on_server(*server);
  }
}

void CausalReads::on_refused(const Refusal& refusal) {
  doing_ = Doing::Nothing;
  set_timer(TimePoint::max());
  client_.on_refused(refusal);
}

void CausalReads::on_server_lost(const Refusal&, bool) {
  const Doing was = std::exchange(doing_, Doing::Nothing);
  server_ = nullptr;
  set_timer(TimePoint::max());
  if (was == Doing::Checking && now() < deadline_) {
    client_.take_server();
  } else {
    go_to_leader();
  }
}

void CausalReads::on_long_wait() { client_.on_long_wait(); }

void CausalReads::abandon() {
  set_timer(TimePoint::max());
  if (client_.shard() == nullptr || client_.shard()->route == nullptr) return;
  if (doing_ == Doing::AskingLeader && server_ == nullptr) leader_shard().withdraw(*this);
  if (to_leader_) leader_shard().withdraw(client_);
  doing_ = Doing::Nothing;
  if (server_ == nullptr) return;
  Server& server = *std::exchange(server_, nullptr);
  server.unlink();
  server.close("the client left while a replica was awaited");
}

}  // namespace pgvigil::pool
