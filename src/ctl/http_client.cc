#include "ctl/http_client.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/core/detail/base64.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <optional>

#include "config/scalars.h"

namespace pgvigil::ctl {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

// One call on its own loop: every step runs under the stream's expiry, which starts anew for none of them.
template <class Stream>
class Exchange {
 public:
  Exchange(asio::io_context& loop, Stream stream) : loop_(loop), stream_(std::move(stream)) {}

  Result<HttpReply> run(const config::HostPort& address, const http::request<http::string_body>& request,
                        Duration timeout) {
    beast::get_lowest_layer(stream_).expires_after(timeout);
    asio::ip::tcp::resolver resolver(loop_);
    const auto addresses = resolver.resolve(address.host, std::to_string(address.port), error_);
    if (error_) return failed("cannot resolve the host");
    beast::get_lowest_layer(stream_).async_connect(addresses, [this](beast::error_code e, auto) { error_ = e; });
    if (step()) return failed("cannot connect");
    if constexpr (!std::is_same_v<Stream, beast::tcp_stream>) {
      stream_.async_handshake(asio::ssl::stream_base::client, [this](beast::error_code e) { error_ = e; });
      if (step()) return failed("cannot agree on TLS");
    }
    http::async_write(stream_, request, [this](beast::error_code e, std::size_t) { error_ = e; });
    if (step()) return failed("cannot send the request");
    beast::flat_buffer buffer;
    http::response_parser<http::string_body> parser;
    parser.body_limit(16 * 1024 * 1024);
    http::async_read(stream_, buffer, parser, [this](beast::error_code e, std::size_t) { error_ = e; });
    if (step()) return failed("no readable answer");
    return HttpReply{static_cast<int>(parser.get().result_int()), parser.get().body()};
  }

 private:
  bool step() {
    loop_.restart();
    loop_.run();
    return static_cast<bool>(error_);
  }
  Result<HttpReply> failed(const char* what) const {
    const bool timeout = error_ == beast::error::timeout;
    return fail(timeout ? Errc::Timeout : Errc::Unavailable, what, {}, error_.message());
  }

  asio::io_context& loop_;
  Stream stream_;
  beast::error_code error_;
};

}  // namespace

Result<void> HttpClient::configure(const config::CtlConfig& ctl, const config::RestApiConfig& restapi) {
  tls_ = std::make_shared<asio::ssl::context>(asio::ssl::context::tls_client);
  boost::system::error_code error;
  const std::string ca = ctl.cacert.empty() ? restapi.cafile : ctl.cacert;
  if (ctl.insecure) {
    tls_->set_verify_mode(asio::ssl::verify_none, error);
  } else {
    tls_->set_verify_mode(asio::ssl::verify_peer, error);
    if (ca.empty()) {
      tls_->set_default_verify_paths(error);
    } else {
      tls_->load_verify_file(ca, error);
      if (error) return fail(Errc::InvalidConfig, "cannot use the CA certificate", ca, error.message());
    }
  }
  if (!ctl.certfile.empty()) {
    tls_->use_certificate_chain_file(ctl.certfile, error);
    if (error) return fail(Errc::InvalidConfig, "cannot use the client certificate", ctl.certfile, error.message());
    const std::string password = ctl.keyfile_password.reveal();
    if (!password.empty()) tls_->set_password_callback([password](auto, auto) { return password; }, error);
    tls_->use_private_key_file(ctl.keyfile.empty() ? ctl.certfile : ctl.keyfile, asio::ssl::context::pem, error);
    if (error) return fail(Errc::InvalidConfig, "cannot use the client key", ctl.keyfile, error.message());
  }
  const std::string user = ctl.username.empty() ? restapi.username : ctl.username;
  const Secret& password = ctl.username.empty() ? restapi.password : ctl.password;
  if (!user.empty()) {
    const std::string plain = user + ":" + password.reveal();
    std::string encoded(beast::detail::base64::encoded_size(plain.size()), '\0');
    encoded.resize(beast::detail::base64::encode(encoded.data(), plain.data(), plain.size()));
    authorization_ = Secret("Basic " + encoded);
  }
  return {};
}

Result<HttpReply> HttpClient::request(const std::string& api_url, const std::string& method, const std::string& path,
                                      const std::string& body, Duration timeout) {
  const auto url = config::parse_url(api_url, 0);
  if (!url) return fail(Errc::InvalidConfig, "a member publishes no usable REST address", api_url);
  http::request<http::string_body> request;
  request.method_string(method);
  request.target(path);
  request.version(11);
  request.set(http::field::host, url->address.host + ":" + std::to_string(url->address.port));
  request.set(http::field::connection, "close");
  if (!authorization_.empty()) request.set(http::field::authorization, authorization_.reveal());
  if (!body.empty()) request.set(http::field::content_type, "application/json");
  request.body() = body;
  request.prepare_payload();
  asio::io_context loop;
  Result<HttpReply> reply;
  if (url->scheme == "https") {
    beast::ssl_stream<beast::tcp_stream> stream(beast::tcp_stream(loop), *tls_);
    SSL_set_tlsext_host_name(stream.native_handle(), url->address.host.c_str());
    reply = Exchange<beast::ssl_stream<beast::tcp_stream>>(loop, std::move(stream)).run(url->address, request, timeout);
  } else {
    reply = Exchange<beast::tcp_stream>(loop, beast::tcp_stream(loop)).run(url->address, request, timeout);
  }
  if (!reply) reply.error().subject = api_url;
  return reply;
}

}  // namespace pgvigil::ctl
