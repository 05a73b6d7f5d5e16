#include "pool/listeners.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "pool/socket_options.h"
#include "pool/worker.h"

namespace pgvigil::pool {

Listeners::Listeners(netio::Loop& loop, Pooler& pooler, std::vector<ListenSocket> sockets)
    : loop_(loop), pooler_(pooler), sockets_(std::move(sockets)), watches_(sockets_.size()) {}

Listeners::~Listeners() { stop(); }

void Listeners::start() {
  if (running_) return;
  running_ = true;
  for (std::size_t i = 0; i < sockets_.size(); ++i) watch(i);
}

void Listeners::stop() {
  running_ = false;
  if (rest_) loop_.cancel(*std::exchange(rest_, std::nullopt));
  for (std::size_t i = 0; i < sockets_.size(); ++i) unwatch(i);
}

void Listeners::close_tcp() {
  std::vector<ListenSocket> kept;
  const bool was_running = running_;
  stop();  // before the descriptors are closed: another process may share them, and then closing ends no watch
  for (auto& socket : sockets_) {
    if (socket.unix_socket()) kept.push_back(std::move(socket));
  }
  sockets_ = std::move(kept);
  watches_.assign(sockets_.size(), std::nullopt);
  if (was_running) start();
}

void Listeners::give_up() {
  stop();
  sockets_.clear();
  watches_.clear();
}

void Listeners::close_and_remove() {
  stop();
  for (const auto& socket : sockets_) {
    if (const std::string path = socket.file(); !path.empty()) unlink(path.c_str());
  }
  give_up();
}

void Listeners::adopt(const poolcfg::Settings& settings) {
  for (const auto& socket : sockets_) {
    if (socket.unix_socket()) continue;
    tune_tcp(socket.fd(), settings);
    defer_accept(socket.fd(), settings.tcp_defer_accept != 0);
  }
}

void Listeners::watch(std::size_t index) {
  if (watches_[index]) return;
  watches_[index] =
      loop_.watch(sockets_[index].fd(), netio::kReadable, [this, index](std::uint32_t) { accept_batch(index); });
}

void Listeners::unwatch(std::size_t index) {
  if (watches_[index]) loop_.unwatch(*std::exchange(watches_[index], std::nullopt));
}

void Listeners::accept_batch(std::size_t index) {
  // The workers count a client when they take it; within the batch we count ourselves.
  std::vector<int> loads;
  for (const auto& worker : pooler_.workers) loads.push_back(worker->client_count.load(std::memory_order_relaxed));
  for (int n = 0; n < kBatch; ++n) {
    Address peer;
    peer.size = sizeof peer.storage;
    const int fd = accept4(sockets_[index].fd(), reinterpret_cast<sockaddr*>(&peer.storage), &peer.size,
                           SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      place(fd, peer, sockets_[index], loads);
      continue;
    }
    switch (errno) {
      // The client left while it waited in the queue (accept(2): Linux passes its network errors on here).
      case EINTR:
      case ECONNABORTED:
      case EPROTO:
      case ENETDOWN:
      case EHOSTUNREACH:
      case ENETUNREACH: continue;
      case EAGAIN: return;
      default: return rest(errno);
    }
  }
}

void Listeners::rest(int error) {
  pooler_.log.put(Level::Warning, "accept() failed: {}; no connections are accepted for {} s{}", errno_text(error),
                  std::chrono::duration_cast<std::chrono::seconds>(kRest).count(),
                  error == EMFILE ? "; raise the limit of file descriptors" : "");
  for (std::size_t i = 0; i < sockets_.size(); ++i) unwatch(i);
  if (rest_) return;
  rest_ = loop_.call_at(loop_.now() + kRest, [this] {
    rest_.reset();
    for (std::size_t i = 0; running_ && i < sockets_.size(); ++i) watch(i);
  });
}

void Listeners::place(int fd, const Address& peer, const ListenSocket& socket, std::vector<int>& loads) {
  // Equal ones take turns, so that a few clients are not all the first worker's.
  std::size_t chosen = next_worker_ % loads.size();
  for (std::size_t n = 1; n < loads.size(); ++n) {
    const std::size_t candidate = (next_worker_ + n) % loads.size();
    if (loads[candidate] < loads[chosen]) chosen = candidate;
  }
  next_worker_ = chosen + 1;
  ++loads[chosen];
  ClientAddress address;
  address.address = hba_address(peer);
  address.port = static_cast<std::uint16_t>(peer.port());
  if (socket.unix_socket()) {
    if (const auto credentials = unix_credentials(fd); credentials) {
      address.pid = credentials->pid;
      address.uid = credentials->uid;
    } else {
      address.uid = static_cast<unsigned>(-1);  // nobody's: never the pooler's own
    }
  }
  const auto listen_port = static_cast<std::uint16_t>(socket.port());
  Worker& worker = *pooler_.workers[chosen];
  worker.post([&worker, fd, address, listen_port] { worker.take_client(fd, address, listen_port); });
}

}  // namespace pgvigil::pool
