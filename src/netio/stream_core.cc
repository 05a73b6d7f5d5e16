#include "netio/stream_core.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "netio/loop_base.h"
#include "netio/tls_session.h"

namespace pgvigil::netio {

namespace {

// Below this, bytes that wait are copied: a thousand waiting clients must not pin a thousand receive buffers.
constexpr std::size_t kKeepBelow = 4096;

}  // namespace

DetachedState::~DetachedState() {
  if (fd >= 0) ::close(fd);
}

StreamCore::StreamCore(LoopBase& loop, int fd, StreamHandler& handler) : loop_(loop), handler_(&handler), fd_(fd) {}

StreamCore::~StreamCore() {
  out_.clear(loop_.memory());
  if (tls_ != nullptr) tls_->plain().clear(loop_.memory());
}

void StreamCore::send(std::string_view bytes) {
  if (bytes.empty() || closed_ || send_error_ != 0) return;
  PGV_ASSERT(!detaching_);
  (tls_ == nullptr ? out_ : tls_->plain()).copy(loop_.memory(), bytes);
  note_unsent();
}

void StreamCore::send(const Slice& slice) {
  if (slice.size == 0 || closed_ || send_error_ != 0) return;
  PGV_ASSERT(!detaching_);
  (tls_ == nullptr ? out_ : tls_->plain()).append(loop_.memory(), slice);
  note_unsent();
}

void StreamCore::note_unsent() {
  if (!above_ && unsent() > kHighWater) above_ = true;
  loop_.enqueue(*this);
}

std::size_t StreamCore::unsent() const { return out_.bytes() + (tls_ == nullptr ? 0 : tls_->unsent()); }

void StreamCore::sent(std::size_t size) {
  out_.consume(loop_.memory(), size);
  if (tls_ != nullptr && !tls_->plain().empty()) loop_.enqueue(*this);
  if (above_ && !closed_ && unsent() <= kLowWater) {
    above_ = false;
    handler_->on_room();
  }
}

// What cannot be sent is dropped; the owner learns of it by on_end(), behind what the peer had still sent (a server
// says why it ends before it does). shutdown() makes sure that receiving comes to an end.
void StreamCore::send_failed(int error) {
  if (send_error_ == 0) send_error_ = error;
  if (!sending_) out_.clear(loop_.memory());  // what the kernel still looks at is dropped by its completion
  if (tls_ != nullptr) tls_->plain().clear(loop_.memory());
  ::shutdown(fd_, SHUT_RDWR);
  readable_ = true;
  hung_up_ = true;
  loop_.enqueue(*this);
}

void StreamCore::resume() {
  if (!paused_) return;
  paused_ = false;
  loop_.enqueue(*this);
}

void StreamCore::received(Slice bytes) {
  if (closed_ || ended_) return;
  if (tls_ != nullptr) {
    tls_->feed(*this, bytes.text());
  } else {
    deliver(std::move(bytes));
  }
}

void StreamCore::deliver(Slice bytes) {
  if (closed_) return;
  if (paused_ || detaching_ || backlog_ != nullptr) {
    keep(std::move(bytes));
  } else {
    handler_->on_received(std::move(bytes));
  }
}

void StreamCore::keep(Slice bytes) {
  if (backlog_ == nullptr) backlog_ = std::make_unique<Backlog>();
  Backlog& backlog = *backlog_;
  backlog.bytes += bytes.size;
  if (bytes.size >= kKeepBelow && bytes.owner.get() != nullptr && !loop_.memory().scarce) {
    backlog.spare = 0;
    backlog.pieces.push_back(std::move(bytes));
    return;
  }
  // A peer that dribbles single bytes must not cost a block for each of them.
  if (backlog.spare >= bytes.size) {
    Slice& last = backlog.pieces.back();
    std::memcpy(const_cast<char*>(last.data) + last.size, bytes.data, bytes.size);
    last.size += bytes.size;
    backlog.spare -= bytes.size;
    return;
  }
  const std::size_t room = backlog.pieces.empty() ? bytes.size : std::max(bytes.size, kKeepBelow);
  BufferRef block = loop_.memory().buffers.take_exactly(room);
  char* data = block.get()->data();
  std::memcpy(data, bytes.data, bytes.size);
  backlog.spare = room - bytes.size;
  backlog.pieces.push_back({std::move(block), data, bytes.size});
}

void StreamCore::deliver_backlog() {
  while (backlog_ != nullptr && !paused_ && !closed_ && !detaching_) {
    if (backlog_->first == backlog_->pieces.size()) {
      backlog_.reset();
      return;
    }
    Slice piece = std::move(backlog_->pieces[backlog_->first++]);
    backlog_->bytes -= piece.size;
    backlog_->spare = 0;
    if (backlog_->first == backlog_->pieces.size()) backlog_.reset();
    handler_->on_received(std::move(piece));
  }
}

void StreamCore::receive_ended(int error) {
  if (closed_ || ended_) return;
  ended_ = true;
  end_error_ = error != 0 ? error : send_error_;
  tell_end();
}

void StreamCore::tell_end() {
  if (!ended_ || end_told_ || closed_ || detaching_ || backlog_ != nullptr) return;
  end_told_ = true;
  handler_->on_end(end_error_);
}

void StreamCore::run_deferred() {
  if (tls_ != nullptr) tls_->begin_if_due(*this);
  deliver_backlog();
  tell_end();
}

void StreamCore::start_tls(TlsContextPtr context, std::string_view received, const std::string& host) {
  PGV_ASSERT(tls_ == nullptr && !detaching_);
  tls_ = std::make_unique<TlsSession>(std::move(context), host);
  std::string first(received);
  if (backlog_ != nullptr) {
    for (std::size_t i = backlog_->first; i < backlog_->pieces.size(); ++i) first += backlog_->pieces[i].text();
    backlog_.reset();
  }
  tls_->keep_first(std::move(first));
  loop_.enqueue(*this);
}

const TlsInfo* StreamCore::tls() const { return tls_ == nullptr ? nullptr : tls_->info(); }

std::string StreamCore::tls_error() const { return tls_ == nullptr ? std::string() : tls_->error(); }

void StreamCore::detach(std::function<void(Detached)> done) {
  PGV_ASSERT(!closed_ && !detaching_ && (tls_ == nullptr || tls_->info() != nullptr));
  detaching_ = true;
  detached_ = std::make_unique<std::function<void(Detached)>>(std::move(done));
  loop_.enqueue(*this);
}

Detached StreamCore::give_away() {
  auto state = std::make_shared<DetachedState>();
  state->fd = std::exchange(fd_, -1);
  state->paused = paused_;
  state->ended = ended_;
  state->end_error = end_error_;
  if (backlog_ != nullptr) {
    state->received.reserve(backlog_->bytes);
    for (std::size_t i = backlog_->first; i < backlog_->pieces.size(); ++i) {
      state->received += backlog_->pieces[i].text();
    }
    backlog_.reset();
  }
  state->tls = std::move(tls_);
  return state;
}

void StreamCore::close() {
  PGV_ASSERT(!closed_);
  closed_ = true;
  backlog_.reset();
  if (tls_ != nullptr) tls_->close();
  loop_.enqueue(*this);
}

}  // namespace pgvigil::netio
