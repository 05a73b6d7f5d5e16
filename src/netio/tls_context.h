// The library's context with what a session needs to know of the settings.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "netio/tls.h"

namespace pgvigil::netio {

class TlsContext {
 public:
  struct FreeContext {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  };
  using ContextPtr = std::unique_ptr<SSL_CTX, FreeContext>;

  TlsContext(ContextPtr context, const TlsSettings& settings)
      : server_(settings.role == TlsSettings::Role::Server),
        verify_host_(settings.verify_host),
        context_(std::move(context)) {}

  [[nodiscard]] bool server() const { return server_; }
  [[nodiscard]] bool verify_host() const { return verify_host_; }
  [[nodiscard]] SSL_CTX* get() const { return context_.get(); }

 private:
  bool server_;
  bool verify_host_;
  ContextPtr context_;
};

// The library's reasons of this thread, oldest first, and clears them.
std::string tls_library_reason();

// PgBouncer's list of protocols as bits: 1 = TLSv1.0 to 8 = TLSv1.3; 0: a word is unknown or nothing is left.
unsigned parse_tls_protocols(const std::string& text);

}  // namespace pgvigil::netio
