// TLS of one stream. Plain bytes gather in a queue of their own and become records when the stream is served, so that
// many small messages share one record. The library reads from the received bytes where they are, and writes records
// into the stream's send queue: there is no buffer of its own between it and us.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "netio/send_queue.h"
#include "netio/tls.h"

struct ssl_st;
struct bio_st;

namespace pgvigil::netio {

class StreamCore;

class TlsSession {
 public:
  TlsSession(TlsContextPtr context, std::string host);
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;
  ~TlsSession();

  [[nodiscard]] SendQueue& plain() { return plain_; }
  [[nodiscard]] std::size_t unsent() const { return plain_.bytes(); }
  [[nodiscard]] const TlsInfo* info() const { return info_.get(); }
  [[nodiscard]] const std::string& error() const { return error_; }

  // What follows is called by the stream, from the loop; handlers are called from inside begin_if_due() and feed().
  void keep_first(std::string bytes) { first_ = std::move(bytes); }
  void begin_if_due(StreamCore& stream);
  void feed(StreamCore& stream, std::string_view bytes);
  void flush(StreamCore& stream);
  void close() { closing_ = true; }

  // The server's choice among the protocols that a client offers.
  static int select_protocol(ssl_st* ssl, const unsigned char** chosen, unsigned char* chosen_size,
                             const unsigned char* offered, unsigned offered_size, void* unused);

 private:
  friend struct TlsBio;

  bool prepare();
  bool handshake(StreamCore& stream);
  void pump(StreamCore& stream);
  void write_record(StreamCore& stream);
  void fail(StreamCore& stream, const char* what);

  TlsContextPtr context_;
  std::string host_;
  std::string first_;  // received before the handshake could begin
  SendQueue plain_;
  std::unique_ptr<TlsInfo> info_;
  std::string error_;
  ssl_st* ssl_ = nullptr;
  // Valid during a call into the library.
  StreamCore* stream_ = nullptr;
  std::string_view input_;
  bool begun_ = false;
  bool closing_ = false;
  bool failed_ = false;
  bool said_goodbye_ = false;
  bool alpn_offered_ = false;
};

std::unique_ptr<TlsInfo> read_tls_info(ssl_st* ssl, bool server, bool alpn_offered);

}  // namespace pgvigil::netio
