#include "api/server.h"

#include <openssl/ssl.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <exception>
#include <list>
#include <optional>
#include <string>
#include <utility>

#include "api/listener.h"
#include "api/resolver.h"
#include "api/router.h"
#include "api/tls.h"
#include "base/task_group.h"

namespace pgvigil::api {
namespace {

namespace http = boost::beast::http;
namespace ssl = asio::ssl;
using Tcp = asio::ip::tcp;
using boost::system::error_code;

constexpr auto kToken = asio::as_tuple(asio::use_awaitable);
constexpr Duration kAcceptRetry = std::chrono::milliseconds(100);
constexpr std::size_t kDrainMax = std::size_t{256} * 1024;

struct Connection {
  enum class Phase : std::uint8_t { Reading, Working, Closing };

  Connection(Tcp::socket accepted_socket, TimePoint now) : socket(std::move(accepted_socket)), accepted(now) {}
  void close() {
    error_code ignored;
    socket.close(ignored);
  }

  Tcp::socket socket;
  TlsContext context;  // null: no TLS; outlives the stream
  std::optional<ssl::stream<Tcp::socket&>> tls;
  std::shared_ptr<const ReplyStyle> style;
  TimePoint accepted;
  Phase phase = Phase::Reading;
  std::string peer_address;
};
using ConnectionPtr = std::shared_ptr<Connection>;

// Closes the connection when its time is over; operations that wait on it then fail.
class CloseAt {
 public:
  CloseAt(Clock& clock, const ConnectionPtr& connection, TimePoint when, std::uint64_t* count = nullptr)
      : clock_(clock), timer_(clock.call_at(when, [weak = std::weak_ptr<Connection>(connection), count] {
          const auto alive = weak.lock();
          if (!alive) return;
          if (count != nullptr) ++*count;
          alive->close();
        })) {}
  ~CloseAt() { clock_.cancel(timer_); }
  CloseAt(const CloseAt&) = delete;
  CloseAt& operator=(const CloseAt&) = delete;

 private:
  Clock& clock_;
  Clock::TimerId timer_;
};

bool is_header_text(const std::string& text) {
  return std::none_of(text.begin(), text.end(), [](unsigned char c) { return (c < ' ' && c != '\t') || c == 0x7f; });
}

std::shared_ptr<const ReplyStyle> make_style(const config::RestApiConfig& config, const Versions& versions,
                                             const Log& log) {
  auto style = std::make_shared<ReplyStyle>();
  style->server = "pgvigil/" + versions.pgvigil;
  if (config.server_tokens == "minimal") style->server = "Patroni/" + versions.patroni;
  if (config.server_tokens == "productonly") style->server = "Patroni";
  auto headers = config.http_extra_headers;
  if (!config.certfile.empty()) {
    for (const auto& [name, value] : config.https_extra_headers) headers[name] = value;
  }
  for (const auto& [name, value] : headers) {
    if (!name.empty() && is_header_text(name) && is_header_text(value)) {
      style->extra_headers.emplace_back(name, value);
    } else {
      log.error("restapi.http_extra_headers: \"{}\" is not usable as a header, it is left out", name);
    }
  }
  return style;
}

// What is answered to bytes that are not a request; empty: the client has gone, there is nobody to answer.
std::optional<Reply> reply_to(const error_code& error) {
  if (error == http::error::end_of_stream || error == http::error::partial_message) return std::nullopt;
  if (error == http::error::header_limit || error == http::error::buffer_overflow) return error_page(431);
  if (error == http::error::body_limit) return error_page(413);
  if (error.category() == http::make_error_code(http::error::bad_method).category()) return error_page(400);
  return std::nullopt;
}

using Parser = http::request_parser<http::string_body>;

Request to_request(const Parser& parser, Connection& connection) {
  const auto& message = parser.get();
  Request request;
  request.method = std::string(message.method_string());
  request.target = parse_target(std::string_view(message.target().data(), message.target().size()));
  request.has_length = message.count(http::field::content_length) > 0;
  request.body = message.body();
  if (const auto found = message.find(http::field::authorization); found != message.end()) {
    request.authorization = std::string(found->value());
  }
  request.peer_address = connection.peer_address;
  request.tls = connection.tls.has_value();
  if (connection.tls) {
    SSL* session = connection.tls->native_handle();
    if (X509* certificate = SSL_get1_peer_certificate(session)) {
      request.client_certificate = SSL_get_verify_result(session) == X509_V_OK;
      X509_free(certificate);
    }
  }
  return request;
}

}  // namespace

struct ApiServer::Impl {
  Impl(agent::Commands& commands_port, Log log_to, Versions versions_told, ServerLimits limits_set)
      : commands(commands_port),
        clock(commands_port.clock()),
        log(log_to.in_room("api")),
        versions(std::move(versions_told)),
        limits(limits_set),
        resolver(clock),
        tasks(clock),
        router(commands, tasks, resolver, versions, counters, log) {}

  Result<void> apply(const config::RestApiConfig& wanted);
  Result<void> listen_on(const config::RestApiConfig& wanted);
  Task<void> accept_loop(Acceptor own);
  void admit(Tcp::socket socket);
  bool make_room();
  Task<void> serve(ConnectionPtr connection);
  Task<void> converse(ConnectionPtr connection);
  template <class Stream>
  Task<std::optional<Reply>> receive(Stream& stream, const ConnectionPtr& connection, std::optional<Request>& request);
  template <class Stream>
  Task<void> exchange(Stream& stream, ConnectionPtr connection);
  template <class Stream>
  Task<void> send_and_close(Stream& stream, ConnectionPtr connection, std::string bytes);
  Task<void> linger(ConnectionPtr connection);

  agent::Commands& commands;
  Clock& clock;
  Log log;
  Versions versions;
  ServerLimits limits;
  ServerCounters counters;
  config::RestApiConfig config;
  TlsContext context;
  std::shared_ptr<const ReplyStyle> style;
  Acceptor acceptor;
  std::list<ConnectionPtr> connections;  // oldest first
  Resolver resolver;
  TaskGroup tasks;
  Router router;
};

Result<void> ApiServer::Impl::listen_on(const config::RestApiConfig& wanted) {
  const int backlog = static_cast<int>(wanted.request_queue_size);
  error_code ignored;
  if (acceptor && wanted.listen == config.listen) {
    // listen(2) on a listening socket only changes the backlog.
    if (wanted.request_queue_size != config.request_queue_size) acceptor->listen(backlog, ignored);
    return {};
  }
  auto opened = open_acceptor(clock.executor(), wanted.listen, backlog);
  if (!opened && opened.error().code == Errc::Refused && acceptor) {
    // The old socket may be what is in the way: the same port on other addresses.
    acceptor->close(ignored);
    opened = open_acceptor(clock.executor(), wanted.listen, backlog);
    if (!opened) {
      auto old = open_acceptor(clock.executor(), config.listen, static_cast<int>(config.request_queue_size));
      if (!old) {
        log.error("the REST API is not reachable any more: {}", old.error().message());
        acceptor.reset();
        return tl::make_unexpected(opened.error());
      }
      acceptor = *old;
      tasks.spawn(accept_loop(acceptor));
    }
  }
  if (!opened) return tl::make_unexpected(opened.error());
  if (acceptor) acceptor->close(ignored);
  acceptor = *opened;
  tasks.spawn(accept_loop(acceptor));
  return {};
}

Result<void> ApiServer::Impl::apply(const config::RestApiConfig& wanted) {
  TlsContext fresh;
  if (!wanted.certfile.empty()) {
    PGV_TRY(made, make_server_context(wanted));
    fresh = made;
  }
  PGV_TRY_VOID(listen_on(wanted));
  context = std::move(fresh);
  style = make_style(wanted, versions, log);
  router.configure(wanted);
  config = wanted;
  return {};
}

Task<void> ApiServer::Impl::accept_loop(Acceptor own) {
  while (true) {
    auto [error, socket] = co_await own->async_accept(kToken);
    if (!own->is_open()) co_return;
    if (error) {
      // Out of descriptors or memory: the connection stays in the backlog, so asking again at once would spin.
      log.warning("cannot accept a connection of the REST API: {}", error.message());
      co_await sleep_for(clock, kAcceptRetry);
      continue;
    }
    admit(std::move(socket));
  }
}

bool ApiServer::Impl::make_room() {
  const TimePoint now = clock.now();
  const auto idle = [&](const ConnectionPtr& c) {
    if (!c->socket.is_open()) return false;
    return c->phase == Connection::Phase::Closing ||
           (c->phase == Connection::Phase::Reading && now - c->accepted > limits.displaceable_after);
  };
  const auto victim = std::find_if(connections.begin(), connections.end(), idle);
  if (victim == connections.end()) return false;
  (*victim)->close();
  return true;
}

void ApiServer::Impl::admit(Tcp::socket socket) {
  const auto open = static_cast<std::size_t>(
      std::count_if(connections.begin(), connections.end(), [](const auto& c) { return c->socket.is_open(); }));
  if (open >= limits.connections) {
    ++counters.rejected_connections;
    if (!make_room()) return;  // closes the new one
  }
  tune(socket);
  auto connection = std::make_shared<Connection>(std::move(socket), clock.now());
  error_code error;
  const auto remote = connection->socket.remote_endpoint(error);
  if (error) return;
  connection->peer_address = unmapped(remote.address()).to_string();
  connection->style = style;
  connection->context = context;
  connections.push_back(connection);
  counters.connections = connections.size();
  const auto place = std::prev(connections.end());
  tasks.spawn(serve(std::move(connection)), [this, place] {
    connections.erase(place);
    counters.connections = connections.size();
  });
}

Task<void> ApiServer::Impl::serve(ConnectionPtr connection) {
  try {
    co_await converse(connection);
  } catch (const std::exception& error) {
    // Out of memory at worst. It costs this connection, nothing else.
    log.error("a connection of the REST API from {} failed: {}", connection->peer_address, error.what());
  }
  connection->close();
}

Task<void> ApiServer::Impl::converse(ConnectionPtr connection) {
  if (!connection->context) {
    co_await exchange(connection->socket, connection);
    co_return;
  }
  connection->tls.emplace(connection->socket, *connection->context);
  {
    const CloseAt limit(clock, connection, clock.now() + limits.handshake, &counters.timed_out);
    const auto [error] = co_await connection->tls->async_handshake(ssl::stream_base::server, kToken);
    if (error) {
      log.debug("no TLS with {}: {}", connection->peer_address, error.message());
      co_return;
    }
  }
  co_await exchange(*connection->tls, connection);
}

template <class Stream>
Task<std::optional<Reply>> ApiServer::Impl::receive(Stream& stream, const ConnectionPtr& connection,
                                                    std::optional<Request>& request) {
  const CloseAt limit(clock, connection, clock.now() + limits.request, &counters.timed_out);
  boost::beast::flat_buffer buffer(2 * limits.header_bytes);
  Parser parser;
  parser.header_limit(static_cast<std::uint32_t>(limits.header_bytes));
  parser.body_limit(limits.body_bytes);
  {
    const auto [error, bytes] = co_await http::async_read_header(stream, buffer, parser, kToken);
    if (error) co_return reply_to(error);
  }
  const bool brief = parser.get().method() == http::verb::get || parser.get().method() == http::verb::head ||
                     parser.get().method() == http::verb::options;
  const bool has_body = parser.get().count(http::field::content_length) > 0 && !parser.chunked();
  if (has_body && !brief && !parser.is_done()) {
    const auto [error, bytes] = co_await http::async_read(stream, buffer, parser, kToken);
    if (error) co_return reply_to(error);
  }
  request = to_request(parser, *connection);
  co_return std::nullopt;
}

template <class Stream>
Task<void> ApiServer::Impl::exchange(Stream& stream, ConnectionPtr connection) {
  std::optional<Request> request;
  auto reply = co_await receive(stream, connection, request);
  connection->phase = Connection::Phase::Working;
  if (request) {
    ++counters.requests;
    reply = co_await router.answer(std::move(*request));
  }
  if (!reply) co_return;
  std::string bytes = serialize(*reply, *connection->style, clock.wall());
  co_await send_and_close(stream, connection, std::move(bytes));
}

template <class Stream>
Task<void> ApiServer::Impl::send_and_close(Stream& stream, ConnectionPtr connection, std::string bytes) {
  {
    const CloseAt limit(clock, connection, clock.now() + limits.reply, &counters.timed_out);
    const auto [error, written] = co_await asio::async_write(stream, asio::buffer(bytes), kToken);
    if (error) co_return;
  }
  connection->phase = Connection::Phase::Closing;
  const CloseAt limit(clock, connection, clock.now() + limits.linger);
  if (connection->tls) {
    // Sends close_notify, without which clients cannot tell the end of the reply from a cut.
    const auto [error] = co_await connection->tls->async_shutdown(kToken);
    if (error) co_return;
  }
  co_await linger(connection);
}

// Closing with unread input makes the kernel send a reset, which may destroy the reply before the client has read it.
Task<void> ApiServer::Impl::linger(ConnectionPtr connection) {
  error_code ignored;
  connection->socket.shutdown(Tcp::socket::shutdown_send, ignored);
  std::string sink(4096, '\0');
  for (std::size_t drained = 0; drained < kDrainMax;) {
    const auto [error, bytes] = co_await connection->socket.async_read_some(asio::buffer(sink), kToken);
    if (error) co_return;
    drained += bytes;
  }
}

ApiServer::ApiServer(agent::Commands& commands, Log log, Versions versions, ServerLimits limits)
    : impl_(std::make_unique<Impl>(commands, log, std::move(versions), limits)) {}

ApiServer::~ApiServer() = default;

Result<void> ApiServer::start(const config::RestApiConfig& config) {
  PGV_TRY_VOID(impl_->apply(config));
  impl_->log.info("the REST API listens on {}:{}{}", config.listen.host.empty() ? "*" : config.listen.host, port(),
                  config.certfile.empty() ? "" : " with TLS");
  return {};
}

Result<void> ApiServer::reload(const config::RestApiConfig& config) { return impl_->apply(config); }

Task<bool> ApiServer::stop(TimePoint deadline) {
  error_code ignored;
  if (impl_->acceptor) impl_->acceptor->close(ignored);
  for (const ConnectionPtr& connection : impl_->connections) {
    if (connection->phase != Connection::Phase::Working) connection->close();
  }
  const bool ended = co_await impl_->tasks.join(deadline);
  if (!ended) {
    for (const ConnectionPtr& connection : impl_->connections) connection->close();
  }
  co_return ended;
}

std::uint16_t ApiServer::port() const {
  error_code ignored;
  return impl_->acceptor ? impl_->acceptor->local_endpoint(ignored).port() : std::uint16_t{0};
}

const ServerCounters& ApiServer::counters() const { return impl_->counters; }

}  // namespace pgvigil::api
