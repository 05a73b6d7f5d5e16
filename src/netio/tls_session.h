// TLS of one stream. Plain bytes gather in a queue of their own and become records when the stream is served, so that
// many small messages share one record.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "netio/send_queue.h"
#include "netio/tls.h"

struct ssl_st;

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

  void keep_first(std::string bytes) { first_ = std::move(bytes); }
  void begin_if_due(StreamCore& stream);
  void feed(StreamCore& stream, std::string_view bytes);
  void flush(StreamCore& stream);
  void close() { closing_ = true; }

 private:
  TlsContextPtr context_;
  std::string host_;
  std::string first_;  // received before the handshake could begin
  SendQueue plain_;
  std::unique_ptr<TlsInfo> info_;
  std::string error_;
  bool closing_ = false;
};

}  // namespace pgvigil::netio
