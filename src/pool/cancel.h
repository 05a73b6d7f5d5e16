// CancelRequest (PostgreSQL documentation, "Canceling Requests in Progress"): finds the client that is meant, and tells
// the server connection that it has right now; or passes the request on to the pooler whose key it is (peers).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "netio/stream.h"
#include "pool/dial.h"

namespace pgvigil::pool {

class Client;
class Server;
class Worker;

// The requester is kept until the request has arrived, and then closed. It is never told how it went.
void deliver_cancel(Client& requester, const std::string& key);

// One connection that carries a CancelRequest, and ends when the other side closes it.
class CancelDelivery final : public netio::StreamHandler {
 public:
  // `still_meant`: asked once more when the connection stands, since the query may have ended meanwhile.
  CancelDelivery(Worker& worker, std::string packet, std::function<bool()> still_meant, std::function<void()> done);
  ~CancelDelivery();
  void to(const Address& address);
  void to_host(const std::string& host, int port);
  void on_received(netio::Slice) override {}
  void on_end(int error) override;
  void on_room() override {}
  void on_tls() override {}

  bool server_lost = false;  // the server connection that was meant is closed

 private:
  void connected(Result<int> fd);
  void finish();
  Worker& worker_;
  std::string packet_;
  std::function<bool()> still_meant_;
  std::function<void()> done_;
  Dial dial_;
  netio::StreamPtr stream_;
  std::shared_ptr<CancelDelivery> self_;  // until it is finished
  friend void keep_alive(const std::shared_ptr<CancelDelivery>& delivery);
};

}  // namespace pgvigil::pool
