#include "api/peer_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <exception>
#include <optional>
#include <utility>
#include <vector>

#include "api/access.h"
#include "api/http.h"
#include "api/listener.h"

namespace pgvigil::api {
namespace {

namespace http = boost::beast::http;
namespace ssl = asio::ssl;
using Tcp = asio::ip::tcp;
using boost::system::error_code;

constexpr auto kToken = asio::as_tuple(asio::use_awaitable);
// The last address needs no share: the deadline of the whole call comes first, and says so in its error.
constexpr Duration kAfterDeadline = std::chrono::seconds(1);
constexpr std::uint32_t kHeaderMax = 32 * 1024;

}  // namespace

// One call. Owned by the coroutine and, weakly, by the timer that ends it.
struct PeerClient::Exchange {
  explicit Exchange(Clock& clock) : socket(clock.executor()) {}
  HttpCall call;
  Url url;
  Tcp::socket socket;
  TlsContext context;
  std::optional<ssl::stream<Tcp::socket&>> tls;
  Secret authorization;
  bool expired = false;

  // The failure of one step, as the caller should see it.
  [[nodiscard]] tl::unexpected<Error> failed(Errc code, const char* what, const error_code& error) const {
    if (expired) return fail(Errc::Timeout, what, call.url, "no answer in time");
    return fail(code, what, call.url, error.message());
  }
};

namespace {

template <class State>
class ExpireAt {
 public:
  ExpireAt(Clock& clock, const std::shared_ptr<State>& state, TimePoint when)
      : clock_(clock), timer_(clock.call_at(when, [weak = std::weak_ptr<State>(state)] {
          const auto alive = weak.lock();
          if (!alive) return;
          alive->expired = true;
          error_code ignored;
          alive->socket.close(ignored);
        })) {}
  ~ExpireAt() { clock_.cancel(timer_); }
  ExpireAt(const ExpireAt&) = delete;
  ExpireAt& operator=(const ExpireAt&) = delete;

 private:
  Clock& clock_;
  Clock::TimerId timer_;
};

std::string request_text(const HttpCall& call, const Url& url, const Secret& authorization) {
  const bool v6 = url.host.find(':') != std::string::npos;
  std::string text = fmt::format("{} {} HTTP/1.0\r\nHost: {}{}{}:{}\r\nUser-Agent: pgvigil\r\nConnection: close\r\n",
                                 call.method, url.path, v6 ? "[" : "", url.host, v6 ? "]" : "", url.port);
  if (!authorization.empty()) text += fmt::format("Authorization: {}\r\n", authorization.reveal());
  if (call.method != "GET") {
    text += fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n", call.body.size());
  }
  return text + "\r\n" + call.body;
}

// Reads until the reply is complete; a reply without a length ends with the connection.
template <class Stream>
Task<error_code> read_reply(Stream& stream, http::response_parser<http::string_body>& parser) {
  boost::beast::flat_buffer buffer(kHeaderMax + PeerClient::kReplyMax);
  const auto [error, bytes] = co_await http::async_read(stream, buffer, parser, kToken);
  error_code result = error;
  // Some servers close without close_notify. The length, where there is one, still tells a cut reply.
  if (error == ssl::error::stream_truncated && parser.got_some()) {
    result = {};
    parser.put_eof(result);
    if (!result && !parser.is_done()) result = http::error::partial_message;
  }
  co_return result;
}

}  // namespace

PeerClient::PeerClient(Clock& clock, Log log) : clock_(clock), log_(log.in_room("api")), resolver_(clock) {}

Result<void> PeerClient::configure(const config::CtlConfig& ctl, const config::RestApiConfig& restapi) {
  PGV_TRY(context, make_client_context(ctl, restapi));
  tls_ = context;
  authorization_ = Secret();
  if (!ctl.username.empty()) {
    authorization_ = basic_authorization(ctl.username, ctl.password);
  } else if (!restapi.username.empty()) {
    authorization_ = basic_authorization(restapi.username, restapi.password);
  }
  return {};
}

Task<Result<void>> PeerClient::connect(std::shared_ptr<Exchange> exchange) {
  const auto addresses = co_await resolver_.resolve(exchange->url.host, exchange->call.deadline);
  if (!addresses) co_return tl::make_unexpected(addresses.error());
  const auto port = static_cast<std::uint16_t>(std::stoul(exchange->url.port));
  error_code last = asio::error::host_not_found;
  std::size_t untried = addresses->size();
  for (const auto& address : *addresses) {
    if (exchange->expired) break;
    error_code ignored;
    exchange->socket.close(ignored);
    const Tcp::endpoint endpoint(address, port);
    exchange->socket.open(endpoint.protocol(), last);
    if (last) {
      --untried;
      continue;
    }
    tune(exchange->socket);
    // An address that swallows packets gets its share of the time, not all of it.
    const TimePoint now = clock_.now();
    const bool last_one = untried == 1;
    const Duration share =
        (exchange->call.deadline - now) / static_cast<std::int64_t>(untried--) + (last_one ? kAfterDeadline : 0s);
    const Clock::TimerId timer = clock_.call_at(now + share, [weak = std::weak_ptr<Exchange>(exchange)] {
      error_code unused;
      if (const auto alive = weak.lock()) alive->socket.close(unused);
    });
    const auto [error] = co_await exchange->socket.async_connect(endpoint, kToken);
    clock_.cancel(timer);
    last = error;
    if (!error) break;
  }
  if (last || exchange->expired) co_return exchange->failed(Errc::Unavailable, "cannot connect to", last);
  if (!exchange->url.tls) co_return Result<void>();
  exchange->tls.emplace(exchange->socket, *exchange->context);
  boost::system::error_code not_numeric;
  asio::ip::make_address(exchange->url.host, not_numeric);
  // RFC 6066, 3: numeric addresses are not permitted in SNI.
  if (not_numeric) SSL_set_tlsext_host_name(exchange->tls->native_handle(), exchange->url.host.c_str());
  const auto [error] = co_await exchange->tls->async_handshake(ssl::stream_base::client, kToken);
  if (error) co_return exchange->failed(Errc::Unauthorized, "cannot agree on TLS with", error);
  co_return Result<void>();
}

Task<Result<HttpReply>> PeerClient::converse(std::shared_ptr<Exchange> exchange) {
  const auto connected = co_await connect(exchange);
  if (!connected) co_return tl::make_unexpected(connected.error());
  const Secret text(request_text(exchange->call, exchange->url, exchange->authorization));
  http::response_parser<http::string_body> parser;
  parser.header_limit(kHeaderMax);
  parser.body_limit(kReplyMax);
  error_code failure;
  if (exchange->tls) {
    const auto [error, bytes] = co_await asio::async_write(*exchange->tls, asio::buffer(text.reveal()), kToken);
    failure = error;
    if (!error) failure = co_await read_reply(*exchange->tls, parser);
  } else {
    const auto [error, bytes] = co_await asio::async_write(exchange->socket, asio::buffer(text.reveal()), kToken);
    failure = error;
    if (!error) failure = co_await read_reply(exchange->socket, parser);
  }
  if (failure) co_return exchange->failed(Errc::Unavailable, "no usable reply from", failure);
  HttpReply reply;
  reply.status = static_cast<int>(parser.get().result_int());
  reply.body = std::move(parser.get().body());
  co_return reply;
}

Task<Result<HttpReply>> PeerClient::request(HttpCall call) {
  const auto url = parse_url(call.url);
  if (!url || url->port.size() > 5 || std::stoul(url->port) > 65535) {
    co_return fail(Errc::InvalidConfig, "cannot call", call.url, "not an http or https URL");
  }
  const TimePoint deadline = call.deadline;
  if (clock_.now() >= deadline) co_return fail(Errc::Timeout, "no time left to call", call.url);
  const auto exchange = std::make_shared<Exchange>(clock_);
  exchange->call = std::move(call);
  exchange->url = *url;
  exchange->context = tls_;
  exchange->authorization = authorization_;
  if (url->tls && !tls_) co_return fail(Errc::InvalidConfig, "cannot call", url->host, "TLS is not set up");
  const ExpireAt<Exchange> limit(clock_, exchange, deadline);
  try {
    co_return co_await converse(exchange);
  } catch (const std::exception& error) {
    co_return fail(Errc::Unavailable, "cannot call", exchange->call.url, error.what());
  }
}

Task<Result<agent::PeerReport>> PeerClient::ask(MemberName name, std::string api_url, TimePoint deadline) {
  HttpCall call;
  call.url = std::move(api_url);
  call.deadline = deadline;
  const auto reply = co_await request(std::move(call));
  if (!reply) co_return tl::make_unexpected(reply.error());
  co_return parse_peer_report(name, reply->body);
}

Task<Result<bool>> PeerClient::post_failsafe(std::string api_url, std::string body, TimePoint deadline) {
  const auto url = parse_url(api_url);
  if (!url) co_return fail(Errc::InvalidConfig, "cannot call", api_url, "not an http or https URL");
  HttpCall call;
  call.method = "POST";
  const bool v6 = url->host.find(':') != std::string::npos;
  call.url = fmt::format("{}://{}{}{}:{}/failsafe", url->tls ? "https" : "http", v6 ? "[" : "", url->host,
                         v6 ? "]" : "", url->port);
  call.body = std::move(body);
  call.deadline = deadline;
  const auto reply = co_await request(std::move(call));
  if (!reply) co_return tl::make_unexpected(reply.error());
  co_return reply->status == 200 && reply->body == "Accepted";
}

}  // namespace pgvigil::api
