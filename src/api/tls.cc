#include "api/tls.h"

#include <openssl/ssl.h>

#include <string>

namespace pgvigil::api {
namespace {

namespace ssl = boost::asio::ssl;
using boost::system::error_code;

Result<void> load_certificate(ssl::context& context, const std::string& certfile, const std::string& keyfile,
                              const Secret& passphrase) {
  error_code error;
  // Set in any case: without it OpenSSL would ask on the terminal for the passphrase of an encrypted key.
  context.set_password_callback([passphrase](std::size_t, auto) { return passphrase.reveal(); }, error);
  if (!error) context.use_certificate_chain_file(certfile, error);
  if (error) {
    return fail(Errc::InvalidConfig, "cannot use the certificate", certfile, error.message(),
                "it has to be a PEM file that the agent may read");
  }
  const std::string& key = keyfile.empty() ? certfile : keyfile;
  context.use_private_key_file(key, ssl::context::pem, error);
  if (error) {
    return fail(Errc::InvalidConfig, "cannot use the private key", key, error.message(),
                "it has to be the PEM key of the certificate, and keyfile_password its passphrase");
  }
  if (SSL_CTX_check_private_key(context.native_handle()) != 1) {
    return fail(Errc::InvalidConfig, "the private key does not belong to the certificate", key);
  }
  return {};
}

Result<void> load_authorities(ssl::context& context, const std::string& cafile) {
  error_code error;
  context.load_verify_file(cafile, error);
  if (error) return fail(Errc::InvalidConfig, "cannot use the certificate authorities", cafile, error.message());
  return {};
}

}  // namespace

Result<TlsContext> make_server_context(const config::RestApiConfig& config) {
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  PGV_TRY_VOID(load_certificate(*context, config.certfile, config.keyfile, config.keyfile_password));
  if (!config.ciphers.empty() && SSL_CTX_set_cipher_list(context->native_handle(), config.ciphers.c_str()) != 1) {
    return fail(Errc::InvalidConfig, "cannot use restapi.ciphers", config.ciphers, "no cipher matches");
  }
  const bool required = config.verify_client == "required";
  const bool optional = config.verify_client == "optional";
  if (!config.cafile.empty()) {
    PGV_TRY_VOID(load_authorities(*context, config.cafile));
    // Tells clients which of their certificates would do.
    SSL_CTX_set_client_CA_list(context->native_handle(), SSL_load_client_CA_file(config.cafile.c_str()));
  } else if (required || optional) {
    return fail(Errc::InvalidConfig, "restapi.verify_client needs restapi.cafile", "",
                "nothing to verify clients with");
  }
  error_code ignored;
  if (required) context->set_verify_mode(ssl::verify_peer | ssl::verify_fail_if_no_peer_cert, ignored);
  if (optional) context->set_verify_mode(ssl::verify_peer, ignored);
  // Sessions that resume with client certificates are refused without a context of their own.
  constexpr unsigned char kSessions[] = "pgvigil";
  SSL_CTX_set_session_id_context(context->native_handle(), kSessions, sizeof(kSessions) - 1);
  return context;
}

Result<TlsContext> make_client_context(const config::CtlConfig& ctl, const config::RestApiConfig& restapi) {
  auto context = std::make_shared<ssl::context>(ssl::context::tls_client);
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  error_code error;
  if (ctl.certfile.empty()) {
    context->set_verify_mode(ssl::verify_none, error);
    return context;
  }
  PGV_TRY_VOID(load_certificate(*context, ctl.certfile, ctl.keyfile, ctl.keyfile_password));
  const std::string& cafile = ctl.cacert.empty() ? restapi.cafile : ctl.cacert;
  if (cafile.empty()) {
    context->set_default_verify_paths(error);
  } else {
    PGV_TRY_VOID(load_authorities(*context, cafile));
  }
  context->set_verify_mode(ssl::verify_peer, error);
  return context;
}

}  // namespace pgvigil::api
