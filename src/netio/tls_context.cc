#include "netio/tls_context.h"

#include <openssl/err.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <string_view>

#include "netio/tls_session.h"

namespace pgvigil::netio {

namespace {

constexpr int kVersions[] = {TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION};
constexpr std::uint64_t kWithout[] = {SSL_OP_NO_TLSv1, SSL_OP_NO_TLSv1_1, SSL_OP_NO_TLSv1_2, SSL_OP_NO_TLSv1_3};

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

unsigned protocol_bits(const std::string& word) {
  if (word == "tlsv1.0") return 1;
  if (word == "tlsv1.1") return 2;
  if (word == "tlsv1.2") return 4;
  if (word == "tlsv1.3") return 8;
  if (word == "tlsv1" || word == "all") return 15;
  if (word == "secure" || word == "default") return 12;
  return 0;
}

// A key that needs a pass phrase is refused; the library would ask for it on the terminal.
int no_pass_phrase(char*, int, int, void*) { return 0; }

// Collects a context step by step; the first failure is kept.
class Builder {
 public:
  explicit Builder(const TlsSettings& settings)
      : settings_(settings), prefix_(settings.role == TlsSettings::Role::Server ? "client_tls_" : "server_tls_") {}

  Result<TlsContextPtr> build() {
    ERR_clear_error();
    const bool server = settings_.role == TlsSettings::Role::Server;
    context_.reset(SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()));
    if (context_ == nullptr) return fail(Errc::Failed, "cannot set up TLS", {}, tls_library_reason());
    SSL_CTX* context = context_.get();
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    // Idle connections give their record buffers up: 34 KB each.
    SSL_CTX_set_mode(context,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_default_passwd_cb(context, no_pass_phrase);
    PGV_TRY_VOID(set_protocols());
    PGV_TRY_VOID(set_ciphers());
    PGV_TRY_VOID(set_exchange());
    PGV_TRY_VOID(set_certificate());
    PGV_TRY_VOID(set_authorities());
    if (server) {
      constexpr unsigned char kName[] = "pgvigil";  // resumption with client certificates needs one
      SSL_CTX_set_session_id_context(context, kName, sizeof kName - 1);
      SSL_CTX_set_alpn_select_cb(context, TlsSession::select_protocol, nullptr);
    }
    return std::make_shared<const TlsContext>(std::move(context_), settings_);
  }

 private:
  tl::unexpected<Error> refused(const char* setting, const std::string& value, std::string remedy = {}) {
    std::string reason = tls_library_reason();
    return fail(Errc::InvalidConfig, "cannot use " + prefix_ + setting, value, std::move(reason), std::move(remedy));
  }

  Result<void> set_protocols() {
    const unsigned bits = parse_tls_protocols(settings_.protocols);
    if (bits == 0) {
      return refused("protocols", settings_.protocols, "use tlsv1.0 to tlsv1.3, all, secure, or !name to remove one");
    }
    SSL_CTX_set_min_proto_version(context_.get(), kVersions[std::countr_zero(bits)]);
    SSL_CTX_set_max_proto_version(context_.get(), kVersions[std::bit_width(bits) - 1]);
    for (unsigned i = 0; i < 4; ++i) {
      if ((bits & 1U << i) == 0) SSL_CTX_set_options(context_.get(), kWithout[i]);
    }
    return {};
  }

  Result<void> set_ciphers() {
    const std::string& ciphers = settings_.ciphers;
    const std::string word = lower(ciphers);
    const bool library = word.empty() || word == "default" || word == "secure" || word == "normal" || word == "fast";
    if (!library && SSL_CTX_set_cipher_list(context_.get(), ciphers.c_str()) != 1) return refused("ciphers", ciphers);
    if (!settings_.ciphers13.empty() && SSL_CTX_set_ciphersuites(context_.get(), settings_.ciphers13.c_str()) != 1) {
      return refused("13_ciphers", settings_.ciphers13);
    }
    return {};
  }

  // "none" leaves the library's choice as it is, which is what it does in PgBouncer too.
  Result<void> set_exchange() {
    const std::string curve = lower(settings_.ecdh_curve);
    if (!curve.empty() && curve != "auto" && curve != "none" &&
        SSL_CTX_set1_groups_list(context_.get(), settings_.ecdh_curve.c_str()) != 1) {
      return refused("ecdhcurve", settings_.ecdh_curve, "use auto, none or a curve's name such as prime256v1");
    }
    const std::string params = lower(settings_.dh_params);
    if (params == "auto" || params.empty()) {
      SSL_CTX_set_dh_auto(context_.get(), 1);
    } else if (params != "none") {
      return refused("dheparams", settings_.dh_params, "use auto or none");
    }
    return {};
  }

  Result<void> set_certificate() {
    const std::string& cert = settings_.cert_file;
    const std::string& key = settings_.key_file;
    if (settings_.role == TlsSettings::Role::Server && (cert.empty() || key.empty())) {
      return refused(cert.empty() ? "cert_file" : "key_file", "",
                     "TLS towards clients needs a certificate and its key");
    }
    if (cert.empty() && key.empty()) return {};
    if (cert.empty()) return refused("key_file", key, "a key needs a certificate: set " + prefix_ + "cert_file");
    if (key.empty()) return refused("cert_file", cert, "a certificate needs its key: set " + prefix_ + "key_file");
    if (SSL_CTX_use_certificate_chain_file(context_.get(), cert.c_str()) != 1) return refused("cert_file", cert);
    if (SSL_CTX_use_PrivateKey_file(context_.get(), key.c_str(), SSL_FILETYPE_PEM) != 1)
      return refused("key_file", key);
    if (SSL_CTX_check_private_key(context_.get()) != 1) {
      return refused("key_file", key, "give the key of the certificate in " + cert);
    }
    return {};
  }

  Result<void> set_authorities() {
    const bool server = settings_.role == TlsSettings::Role::Server;
    const bool ask = settings_.verify_peer || (server && settings_.request_certificate);
    if (!ask) return {};
    const std::string& file = settings_.ca_file;
    if (file.empty()) {
      SSL_CTX_set_default_verify_paths(context_.get());
    } else {
      if (SSL_CTX_load_verify_locations(context_.get(), file.c_str(), nullptr) != 1) return refused("ca_file", file);
      if (server) SSL_CTX_set_client_CA_list(context_.get(), SSL_load_client_CA_file(file.c_str()));
    }
    ERR_clear_error();
    int mode = SSL_VERIFY_PEER;
    if (server && settings_.verify_peer) mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(context_.get(), mode, nullptr);
    return {};
  }

  const TlsSettings& settings_;
  const std::string prefix_;
  TlsContext::ContextPtr context_;
};

}  // namespace

std::string tls_library_reason() {
  std::string text;
  while (const unsigned long code = ERR_get_error()) {
    if (ERR_SYSTEM_ERROR(code)) {
      text = errno_text(ERR_GET_REASON(code));
      continue;
    }
    const char* reason = ERR_reason_error_string(code);
    // A failed open() leaves the library's own words for it as well.
    if (reason == nullptr || ERR_GET_REASON(code) == ERR_R_SYS_LIB || text.find(reason) != std::string::npos) continue;
    if (!text.empty()) text += ", ";
    text += reason;
  }
  return text;
}

unsigned parse_tls_protocols(const std::string& text) {
  unsigned bits = 0;
  std::size_t at = 0;
  while (at <= text.size()) {
    const std::size_t end = std::min(text.find_first_of(",:", at), text.size());
    std::string_view word = std::string_view(text).substr(at, end - at);
    at = end + 1;
    while (!word.empty() && std::isspace(static_cast<unsigned char>(word.front()))) word.remove_prefix(1);
    while (!word.empty() && std::isspace(static_cast<unsigned char>(word.back()))) word.remove_suffix(1);
    if (word.empty()) continue;
    const bool remove = word.front() == '!';
    if (remove) word.remove_prefix(1);
    const unsigned named = protocol_bits(lower(word));
    if (named == 0) return 0;
    bits = remove ? bits & ~named : bits | named;
  }
  return bits;
}

Result<TlsContextPtr> make_tls_context(const TlsSettings& settings) { return Builder(settings).build(); }

}  // namespace pgvigil::netio
