#include "netio/tls_session.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "netio/loop_base.h"
#include "netio/stream_core.h"
#include "netio/tls_context.h"

namespace pgvigil::netio {

namespace {

constexpr std::size_t kRecordBytes = 16384;
// Records are made ahead of the socket up to here; what is behind stays plain and can still share a record.
constexpr std::size_t kEncryptedMax = 64 * 1024;

bool is_address(const std::string& host) {
  unsigned char bytes[16];
  return ::inet_pton(AF_INET, host.c_str(), bytes) == 1 || ::inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}

}  // namespace

// What the library takes for its transport.
struct TlsBio {
  static TlsSession& session(BIO* bio) { return *static_cast<TlsSession*>(BIO_get_data(bio)); }

  static int read(BIO* bio, char* to, std::size_t size, std::size_t* got) {
    std::string_view& input = session(bio).input_;
    BIO_clear_retry_flags(bio);
    if (input.empty()) {
      BIO_set_retry_read(bio);
      return 0;
    }
    *got = std::min(size, input.size());
    std::memcpy(to, input.data(), *got);
    input.remove_prefix(*got);
    return 1;
  }

  static int write(BIO* bio, const char* from, std::size_t size, std::size_t* done) {
    StreamCore& stream = *session(bio).stream_;
    BIO_clear_retry_flags(bio);
    if (stream.send_error_ == 0) stream.out_.copy(stream.loop_.memory(), {from, size});
    stream.loop_.enqueue(stream);
    *done = size;
    return 1;
  }

  static long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

  static BIO_METHOD* method() {
    static BIO_METHOD* const made = [] {
      BIO_METHOD* fresh = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
      BIO_meth_set_read_ex(fresh, read);
      BIO_meth_set_write_ex(fresh, write);
      BIO_meth_set_ctrl(fresh, control);
      return fresh;
    }();
    return made;
  }
};

TlsSession::TlsSession(TlsContextPtr context, std::string host)
    : context_(std::move(context)), host_(std::move(host)) {}

TlsSession::~TlsSession() { SSL_free(ssl_); }

bool TlsSession::prepare() {
  ssl_ = SSL_new(context_->get());
  BIO* bio = ssl_ == nullptr ? nullptr : BIO_new(TlsBio::method());
  if (bio == nullptr) return false;
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
  SSL_set_app_data(ssl_, this);
  if (context_->server()) {
    SSL_set_accept_state(ssl_);
    return true;
  }
  SSL_set_connect_state(ssl_);
  if (!context_->verify_host()) return true;
  SSL_set_hostflags(ssl_, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  // RFC 6066: SNI carries names only; an address has to be among the certificate's addresses.
  if (is_address(host_)) return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_), host_.c_str()) == 1;
  return SSL_set_tlsext_host_name(ssl_, host_.c_str()) == 1 && SSL_set1_host(ssl_, host_.c_str()) == 1;
}

void TlsSession::begin_if_due(StreamCore& stream) {
  if (begun_ || stream.ended_) return;
  begun_ = true;
  ERR_clear_error();
  if (!prepare()) return fail(stream, "cannot begin TLS");
  const std::string first = std::exchange(first_, {});
  feed(stream, first);
}

void TlsSession::feed(StreamCore& stream, std::string_view bytes) {
  if (failed_) return;
  if (!begun_) {
    first_ += bytes;
    return;
  }
  stream_ = &stream;
  input_ = bytes;
  pump(stream);
  input_ = {};
}

bool TlsSession::handshake(StreamCore& stream) {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_);
  if (result != 1) {
    if (SSL_get_error(ssl_, result) != SSL_ERROR_WANT_READ) fail(stream, "TLS handshake failed");
    return false;
  }
  info_ = read_tls_info(ssl_, context_->server(), alpn_offered_);
  stream.loop_.enqueue(stream);  // what was sent meanwhile waits for this
  stream.handler_->on_tls();
  return true;
}

void TlsSession::pump(StreamCore& stream) {
  if (info_ == nullptr && !handshake(stream)) return;
  HeapPool& buffers = stream.loop_.memory().buffers;
  while (!stream.closed_ && !stream.ended_ && (!input_.empty() || SSL_pending(ssl_) > 0)) {
    // Decrypted to where the owner gets it; several short records share a buffer.
    BufferRef buffer = buffers.take();
    char* data = buffer.get()->data();
    std::size_t used = 0;
    int result = 1;
    ERR_clear_error();
    while (used < kBufferBytes && (!input_.empty() || SSL_pending(ssl_) > 0)) {
      std::size_t got = 0;
      result = SSL_read_ex(ssl_, data + used, kBufferBytes - used, &got);
      if (result != 1) break;
      used += got;
    }
    const int error = result == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl_, result);
    if (used > 0) stream.deliver({std::move(buffer), data, used});
    if (error == SSL_ERROR_NONE || error == SSL_ERROR_WANT_READ) continue;
    if (error == SSL_ERROR_ZERO_RETURN) return stream.receive_ended(0);
    return fail(stream, "TLS failed");
  }
}

// The library has queued its alert already, where there is one.
void TlsSession::fail(StreamCore& stream, const char* what) {
  failed_ = true;
  error_ = what;
  const std::string reason = tls_library_reason();
  if (!reason.empty()) error_ += ": " + reason;
  const long verified = ssl_ == nullptr ? X509_V_OK : SSL_get_verify_result(ssl_);
  if (verified != X509_V_OK) error_ += std::string(", ") + X509_verify_cert_error_string(verified);
  stream.loop_.enqueue(stream);
  stream.receive_ended(EPROTO);
}

void TlsSession::write_record(StreamCore& stream) {
  Memory& memory = stream.loop_.memory();
  std::string_view bytes = plain_.front();
  BufferRef gathered;
  if (bytes.size() < kRecordBytes / 2 && !plain_.one_piece()) {
    gathered = memory.buffers.take();
    bytes = {gathered.get()->data(), plain_.copy_front(gathered.get()->data(), kRecordBytes)};
  }
  std::size_t done = 0;
  ERR_clear_error();
  if (SSL_write_ex(ssl_, bytes.data(), std::min(bytes.size(), kRecordBytes), &done) == 1) {
    plain_.consume(memory, done);
  } else {
    fail(stream, "TLS failed");
  }
}

void TlsSession::flush(StreamCore& stream) {
  stream_ = &stream;
  if (failed_ || (closing_ && info_ == nullptr)) return plain_.clear(stream.loop_.memory());
  if (info_ == nullptr) return;
  while (!failed_ && !plain_.empty() && stream.out_.bytes() < kEncryptedMax) write_record(stream);
  if (closing_ && plain_.empty() && !said_goodbye_ && !failed_) {
    said_goodbye_ = true;
    ERR_clear_error();
    SSL_shutdown(ssl_);
  }
}

// PostgreSQL's rule for direct TLS, except that a client which offers nothing is accepted, as PgBouncer does.
int TlsSession::select_protocol(ssl_st* ssl, const unsigned char** chosen, unsigned char* chosen_size,
                                const unsigned char* offered, unsigned offered_size, void*) {
  static constexpr std::string_view kProtocol = "postgresql";
  static_cast<TlsSession*>(SSL_get_app_data(ssl))->alpn_offered_ = true;
  for (unsigned at = 0; at < offered_size; at += 1U + offered[at]) {
    const std::string_view name(reinterpret_cast<const char*>(offered + at + 1),
                                std::min<std::size_t>(offered[at], offered_size - at - 1));
    if (name != kProtocol) continue;
    *chosen = offered + at + 1;
    *chosen_size = offered[at];
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

}  // namespace pgvigil::netio
