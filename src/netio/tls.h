// TLS by OpenSSL, for both sides. Contexts are immutable and shared between threads; a reload makes a new one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"

namespace pgvigil::netio {

// PgBouncer's client_tls_* and server_tls_* settings, as written.
struct TlsSettings {
  enum class Role : std::uint8_t { Server, Client } role = Role::Server;  // Server: towards the pooler's clients
  bool verify_peer = false;                  // the peer's certificate must be there and valid
  bool request_certificate = true;           // server: ask; if one is presented, it must be valid
  bool verify_host = false;                  // client: the certificate must name the host; SNI is sent
  std::string key_file, cert_file, ca_file;  // ca_file empty: the system's bundle
  std::string protocols = "secure";          // tlsv1.0-1.3, all, secure, default, !x; by comma or colon
  std::string ciphers = "default";           // default, secure, normal, fast, or an OpenSSL list
  std::string ciphers13;                     // empty: the library's
  std::string ecdh_curve = "auto";           // auto, none, a curve's name
  std::string dh_params = "auto";            // auto, none
};

class TlsContext;
using TlsContextPtr = std::shared_ptr<const TlsContext>;

// Errors name the file, the setting and the library's reason.
Result<TlsContextPtr> make_tls_context(const TlsSettings& settings);

// What is known after the handshake.
struct TlsInfo {
  std::string text;           // "TLSv1.3/TLS_AES_256_GCM_SHA384/ECDH=X25519"
  std::string alpn;           // what was agreed on; empty: none
  bool alpn_offered = false;  // server: the client offered some
  bool peer_certificate = false;
  std::string peer_common_name;
  std::vector<std::string> peer_names;  // SAN dNSName and iPAddress
  std::string server_end_point;         // RFC 5929 tls-server-end-point: hash of the server's certificate
};

// Host-name style comparison: case-insensitive, one leading wildcard label.
bool certificate_names(const TlsInfo& info, const std::string& name);

}  // namespace pgvigil::netio
