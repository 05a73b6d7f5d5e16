// One client of the load: logs in, sends the same batch again and again, reads until ReadyForQuery.
#pragma once

#include <openssl/ssl.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "scram_client.h"

namespace bench {

using Clock = std::chrono::steady_clock;

struct LoadPlan {
  uint16_t port = 0;
  std::string user, password, database;
  bool tls = false;
  bool reconnect = false;  // a login for each transaction
  bool prepared = false;
  std::string prepare;      // sent once after the login
  std::string batch;        // one transaction
  uint64_t copy_bytes = 0;  // of CopyData for each CopyInResponse
  SSL_CTX* context = nullptr;
};

enum class Progress { Going, Ready, Done, Failed };  // Ready: logged in; Done: a transaction is complete

class LoadConnection {
 public:
  LoadConnection(const LoadPlan& plan, int epoll) : plan_(plan), epoll_(epoll) {}
  ~LoadConnection() { disconnect(); }
  LoadConnection(const LoadConnection&) = delete;
  LoadConnection& operator=(const LoadConnection&) = delete;

  void connect();
  void disconnect();
  void begin();  // sends one transaction
  Progress on_event(uint32_t events);

  [[nodiscard]] bool busy() const { return state_ == State::Busy; }
  [[nodiscard]] bool ready() const { return state_ == State::Ready; }
  [[nodiscard]] const std::string& error() const { return error_; }

  Clock::time_point started, due;
  uint64_t received = 0, sent = 0;

 private:
  enum class State { Closed, Connecting, SslReply, Handshake, Login, Prepare, Ready, Busy };

  Progress fail(std::string why);
  Progress receive();
  Progress consume(const char* data, size_t size);
  Progress handle(char type, std::string_view body);
  Progress authenticate(std::string_view body);
  Progress handshake();
  void send_startup();
  void send(std::string bytes);
  bool flush();
  ssize_t read_some(char* data, size_t size);
  ssize_t write_some(const char* data, size_t size);
  void watch(uint32_t events);

  const LoadPlan& plan_;
  int epoll_;
  int fd_ = -1;
  SSL* ssl_ = nullptr;
  State state_ = State::Closed;
  uint32_t watched_ = 0;
  ScramClient scram_;
  std::string pending_;  // of a message that is read whole
  uint32_t skip_ = 0;    // bytes of a message that nobody looks at
  std::string own_;      // what out_ shows, unless that is the batch
  std::string_view out_;
  uint64_t copy_left_ = 0;
  bool copying_ = false;
  std::string error_;
};

}  // namespace bench
