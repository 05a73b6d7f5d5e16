#include "pool/server.h"

#include <fmt/format.h>

#include "pgwire/messages.h"
#include "pool/cancel.h"
#include "pool/client.h"
#include "pool/server_login.h"
#include "pool/worker.h"

namespace pgvigil::pool {

std::string_view to_string(ServerState state) {
  switch (state) {
    case ServerState::Login: return "new";
    case ServerState::Idle: return "idle";
    case ServerState::Active: return "active";
    case ServerState::Used: return "used";
    case ServerState::Tested: return "tested";
    case ServerState::BeingCanceled: return "being_canceled";
    case ServerState::Closed: return "closed";
  }
  return "unknown";
}

Server::Server(PoolShard& shard, std::uint64_t id, Slots slots)
    : shard_(&shard),
      id_(id),
      slots_(std::move(slots)),
      connected_at_(shard.worker.now()),
      last_activity_(connected_at_),
      generation_(shard.pool.generation.load()) {}

Server::~Server() = default;

std::string Server::log_name() const {
  return fmt::format("S-{:#x}: {}/{}@{}", id_, shard_->pool.database.name(), shard_->pool.user.name(),
                     address_.size == 0 ? "(not connected)" : address_.text());
}

ServerStatements& Server::statements() {
  if (!statements_) statements_ = std::make_unique<ServerStatements>();
  return *statements_;
}

void Server::set_state(ServerState state) {
  if (state == state_ && list() != nullptr) return;
  PGV_ASSERT(state == state_ || may_follow(state_, state));
  if (list() != nullptr) list()->remove(*this);
  state_ = state;
  switch (state) {
    case ServerState::Login: shard_->login.push_back(*this); break;
    case ServerState::Idle:
      // The one used last is used next, so that the others get old and are closed; one that is to go waits at the end.
      if (close_needed() || shard_->worker.settings().server_round_robin != 0) {
        shard_->idle.push_back(*this);
      } else {
        shard_->idle.push_front(*this);
      }
      break;
    case ServerState::Active: shard_->active.push_back(*this); break;
    case ServerState::Used: shard_->used.push_back(*this); break;
    case ServerState::Tested: shard_->tested.push_back(*this); break;
    case ServerState::BeingCanceled: shard_->being_canceled.push_back(*this); break;
    case ServerState::Closed: break;
  }
}

// --- links

void Server::link(Waiter& owner) {
  PGV_ASSERT(owner_ == nullptr && requests_.empty());
  set_state(ServerState::Active);
  owner_ = &owner;
  release_due_ = false;
  if (load_ != nullptr && shard_->spreads()) count_active(true);
}

void Server::hand_to(Waiter& owner) {
  owner_ = &owner;
  listener_ = nullptr;
}

// Only where there is a choice of members: elsewhere nobody looks at it, and every transaction would touch one place
// that all workers share.
void Server::count_active(bool active) {
  if (active == counted_active_) return;
  counted_active_ = active;
  load_->active.fetch_add(active ? 1 : -1, std::memory_order_relaxed);
}

void Server::route_to(const RouteTarget& target, std::uint64_t reign) {
  Pooler& pooler = shard_->worker.pooler();
  target_ = std::make_unique<RouteTarget>(target);
  load_ = &pooler.loads.of(target.member);
  ++load_->connections;
  if (!target.leader) return;
  reign_ = reign;
  fence_ = &pooler.reign;
}

void Server::unlink() {
  if (paused_by_client_) resume_for_client();
  owner_ = nullptr;
  client_ = nullptr;
  listener_ = nullptr;
  release_due_ = false;
  if (counted_active_) count_active(false);
}

void Server::pause_for_client() {
  if (paused_by_client_ || !stream_) return;
  paused_by_client_ = true;
  stream_->pause();
}

void Server::resume_for_client() {
  paused_by_client_ = false;
  if (stream_) stream_->resume();
}

// --- the end

void Server::shut(std::string_view reason, bool goodbye, Level level) {
  PGV_ASSERT(state_ != ServerState::Closed);
  PoolLog& log = shard_->worker.pooler().log;
  if (shard_->worker.settings().log_disconnections != 0) {
    log.put(level, "{} closing because: {} (age={}s)", log_name(), reason,
            std::chrono::duration_cast<std::chrono::seconds>(shard_->worker.now() - connected_at_).count());
  }
  const bool was_up = state_ != ServerState::Login;
  set_state(ServerState::Closed);
  if (was_up) --shard_->pool.connected;
  if (stream_ && goodbye && !walker_.inside_message()) {
    std::string bye;
    pgwire::terminate(bye);
    stream_->send(bye);
  }
  shard_->worker.bury(std::shared_ptr<void>(std::move(login_)));
  stream_.reset();
  slots_ = Slots{};
  if (load_ != nullptr) {
    if (counted_active_) count_active(false);
    --load_->connections;
  }
  for (CancelDelivery* delivery : cancels) delivery->server_lost = true;
  cancels.clear();
  shard_->server_closed();
  shard_->worker.bury(std::unique_ptr<Server>(this));
}

void Server::close(std::string_view reason) { close_with_client(reason, Refusal{"08P01", std::string(reason)}); }

void Server::close_with_client(std::string_view reason, const Refusal& refusal) {
  if (state_ == ServerState::Closed) return;
  // An attempt that is given up because the leader is another one says nothing of that one.
  if (state_ == ServerState::Login && !fenced()) {
    shard_->pool.connect_ended(true, true, std::string(reason));
  }
  Waiter* owner = owner_;
  owner_ = nullptr;
  client_ = nullptr;
  listener_ = nullptr;
  // The owner's own words were still held back, and another member can take them.
  const bool unsent = restoring_ && target_ != nullptr;
  shut(reason, state_ != ServerState::Login);
  if (owner != nullptr) owner->on_server_lost(refusal, unsent);
}

namespace {

// How long other members are tried first after one has failed.
constexpr Duration kAvoid = std::chrono::seconds(1);

// Classes of SQLSTATE that are the client's matter: authorization, name of the database, privileges, our own refusals.
bool lasts(std::string_view sqlstate) {
  const std::string_view kind = sqlstate.substr(0, 2);
  return kind == "28" || kind == "3D" || kind == "42" || sqlstate == "08P01";
}

}  // namespace

void Server::login_failed(const std::string& reason, const std::optional<Refusal>& told_to_waiting) {
  if (state_ == ServerState::Closed) return;
  Pool& pool = shard_->pool;
  Pooler& pooler = shard_->worker.pooler();
  const PoolShard& shard = *shard_;
  const bool repeated = shard.failed_before(reason);
  const bool past = fenced();
  if (load_ != nullptr) load_->avoid_until = (shard.worker.now() + kAvoid).since_boot().count();
  if (!replication_) pool.connect_ended(true, true, reason);
  Waiter* owner = owner_;
  owner_ = nullptr;
  client_ = nullptr;
  const bool alone = replication_;
  shut(reason, false, repeated ? Level::Debug : Level::Log);
  if (owner != nullptr) owner->on_server_lost({"08P01", "login failed"}, false);
  // Of a member of the cluster clients hear only what waiting does not mend, and nothing of one that leads no more.
  if (shard.route != nullptr && (past || !told_to_waiting || !lasts(told_to_waiting->sqlstate))) return;
  // A server that is starting up or shutting down (57P03) may be up again before the clients' patience ends.
  if (alone || !told_to_waiting || told_to_waiting->sqlstate == "57P03" || pool.connected > 0) return;
  pooler.on_workers([&pool, refusal = *told_to_waiting](Worker& worker) {
    if (PoolShard* shard = pool.shard(worker.index())) shard->refuse_waiting(refusal);
  });
}

// --- requests of our own

void Server::run_internal_query(std::string_view sql) {
  PGV_ASSERT(state_ == ServerState::Tested);
  own_query_ = true;
  std::string message;
  pgwire::query(message, sql);
  requests_.push_back({'Q', Answer::Skip, nullptr});
  last_activity_ = shard_->worker.now();
  stream_->send(message);
}

void Server::restore_parameters(std::string_view sql) {
  restoring_ = true;
  restore_failed_ = false;
  std::string message;
  pgwire::query(message, sql);
  requests_.push_back({'Q', Answer::Skip, nullptr});
  stream_->send(message);
}

void Server::fake(char request_type) { requests_.push_back({request_type, Answer::Fake, nullptr}); }

// --- moving to another worker

void Server::leave(std::function<void()> done) {
  PGV_ASSERT(list() == nullptr && owner_ == nullptr && stream_ != nullptr);
  netio::Stream* stream = stream_.release();
  stream->detach([this, done = std::move(done)](netio::Detached detached) {
    detached_ = std::move(detached);
    done();
  });
}

void Server::enter(PoolShard& shard) {
  shard_ = &shard;
  netio::Detached detached = std::move(detached_);
  stream_ = shard.worker.loop().adopt(std::move(detached), *this);
}

// --- netio::StreamHandler

void Server::on_received(netio::Slice bytes) {
  last_activity_ = shard_->worker.now();
  if (login_) {
    login_->received(bytes);
    return;
  }
  shard_->statistics.sent.add(bytes.size);
  replies(bytes);
}

void Server::on_end(int error) {
  if (state_ == ServerState::Closed) return;
  if (login_) {
    login_->ended(error, stream_->tls_error());
    return;
  }
  if (client_ != nullptr || owner_ != nullptr) {
    close_with_client("server conn crashed?", {target_ == nullptr ? "08P01" : "08006", "server conn crashed?"});
  } else {
    close("server conn crashed?");
  }
}

void Server::on_room() {
  if (client_ != nullptr) client_->server_has_room();
}

void Server::on_tls() {
  if (login_) login_->tls_ready();
}

void Server::logged_in(ParameterSetPtr parameters, std::string cancel_key) {
  parameters_ = std::move(parameters);
  cancel_key_ = std::move(cancel_key);
  shard_->worker.bury(std::shared_ptr<void>(std::move(login_)));
  slots_.attempt.give_back();
  Pool& pool = shard_->pool;
  ++pool.connected;
  status_ = 'I';
  if (replication_) {
    set_state(ServerState::Active);
    return;
  }
  pool.connect_ended(false, false, {});
  // Clients of all workers may have been waiting for the pool's first connection.
  const bool others = pool.waiting_shards.load() > 0;
  if (others && pool.workers() > 1) {
    shard_->worker.pooler().on_workers([&pool](Worker& worker) {
      if (PoolShard* shard = pool.shard(worker.index())) shard->pump();
    });
  }
  PoolShard& shard = *shard_;
  shard.make_idle(*this);
  shard.connected();
}

}  // namespace pgvigil::pool
