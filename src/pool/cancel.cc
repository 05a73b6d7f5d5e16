#include "pool/cancel.h"

#include <algorithm>

#include "pgwire/messages.h"
#include "pool/client.h"
#include "pool/client_login.h"
#include "pool/server.h"
#include "pool/worker.h"

namespace pgvigil::pool {
namespace {

std::uint64_t key_number(const std::string& key) {
  std::uint64_t number = 0;
  for (const char c : key) number = number << 8 | static_cast<unsigned char>(c);
  return number;
}

// The low two bits of the last byte count hops between peers; keys are kept with both set.
constexpr std::uint64_t kHopBits = 3;

int peer_of_key(const std::string& key) {
  return static_cast<unsigned char>(key[1]) | static_cast<unsigned char>(key[2]) << 8;
}

// Ends the requester's connection on its own worker, if it is still there.
std::function<void()> requester_done(Client& requester) {
  Worker* worker = &requester.worker();
  const std::uint64_t id = requester.id();
  return [worker, id] {
    worker->post([worker, id] {
      if (Client* client = worker->login_by_id(id)) client->login()->cancel_done();
    });
  };
}

void pass_on_to_peer(Client& requester, std::string key) {
  Worker& worker = requester.worker();
  const auto& peers = worker.config().file.peers;
  const auto peer = peers.find(peer_of_key(key));
  const int hops = key[7] & static_cast<int>(kHopBits);
  if (peer == peers.end() || hops == 0) {
    requester.login()->cancel_done();
    return;
  }
  key[7] = static_cast<char>((key[7] & ~static_cast<int>(kHopBits)) | (hops - 1));
  auto delivery = std::make_shared<CancelDelivery>(
      worker, pgwire::cancel_request(key), [] { return true; }, requester_done(requester));
  keep_alive(delivery);
  delivery->to_host(peer->second.host, peer->second.port);
}

// On the target's worker. Queued clients have no query on a server yet, so there is nothing to cancel.
void deliver_to(Worker& worker, std::uint64_t key, std::function<void()> done) {
  const CancelIndex::Entry entry = worker.pooler().cancels.find(key);
  Client* client = entry.worker == &worker ? entry.client : nullptr;
  Server* server = client != nullptr ? client->server() : nullptr;
  if (server == nullptr || server->restoring() || server->cancel_key().empty() || server->quiet()) {
    done();
    return;
  }
  const std::uint64_t id = client->id();
  auto* raw = new std::shared_ptr<CancelDelivery>();
  *raw = std::make_shared<CancelDelivery>(
      worker, pgwire::cancel_request(server->cancel_key()),
      [server, client, id, raw] {
        // Closed servers drop their deliveries from the list first, see below.
        return !(*raw)->server_lost && server->client() == client && client->id() == id && !server->quiet();
      },
      [server, raw, done = std::move(done)] {
        const std::shared_ptr<CancelDelivery> delivery = *raw;
        delete raw;
        if (!delivery->server_lost) {
          auto& list = server->cancels;
          list.erase(std::remove(list.begin(), list.end(), delivery.get()), list.end());
          if (list.empty()) server->shard().cancels_ended(*server);
        }
        done();
      });
  const std::shared_ptr<CancelDelivery> delivery = *raw;
  server->cancels.push_back(delivery.get());
  keep_alive(delivery);
  delivery->to(server->address());
}

}  // namespace

void keep_alive(const std::shared_ptr<CancelDelivery>& delivery) { delivery->self_ = delivery; }

void deliver_cancel(Client& requester, const std::string& key) {
  Pooler& pooler = requester.worker().pooler();
  const int own = requester.worker().settings().peer_id;
  if (own > 0 && peer_of_key(key) != own) {
    pass_on_to_peer(requester, key);
    return;
  }
  const std::uint64_t number = key_number(key) | kHopBits;
  const CancelIndex::Entry entry = pooler.cancels.find(number);
  if (entry.worker == nullptr) {
    if (pooler.cancel_console) pooler.cancel_console(number);
    requester.login()->cancel_done();
    return;
  }
  Worker* target = entry.worker;
  target->post([target, number, done = requester_done(requester)] { deliver_to(*target, number, done); });
}

CancelDelivery::CancelDelivery(Worker& worker, std::string packet, std::function<bool()> still_meant,
                               std::function<void()> done)
    : worker_(worker),
      packet_(std::move(packet)),
      still_meant_(std::move(still_meant)),
      done_(std::move(done)),
      dial_(worker) {}

CancelDelivery::~CancelDelivery() = default;

void CancelDelivery::to(const Address& address) {
  dial_.to_address(address, [this](Result<int> fd, const Address&) { connected(std::move(fd)); });
}

void CancelDelivery::to_host(const std::string& host, int port) {
  dial_.to_host(host, port, [this](Result<int> fd, const Address&) { connected(std::move(fd)); });
}

void CancelDelivery::connected(Result<int> fd) {
  if (!fd) {
    finish();
    return;
  }
  stream_ = worker_.loop().adopt(*fd, *this);
  if (!still_meant_()) {
    finish();
    return;
  }
  stream_->send(packet_);
}

void CancelDelivery::on_end(int) { finish(); }

void CancelDelivery::finish() {
  const std::shared_ptr<CancelDelivery> self = std::move(self_);
  stream_.reset();
  const auto done = std::move(done_);
  if (done) done();
  worker_.bury(std::shared_ptr<void>(self));
}

}  // namespace pgvigil::pool
