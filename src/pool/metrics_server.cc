// A small answerer of HTTP: one request per connection, bounded in size, time and number, because the port may be open
// to more than a scraper.
#include <fcntl.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <list>

#include "pool/address.h"
#include "pool/metrics.h"
#include "pool/pool_statistics.h"
#include "pool/snapshot.h"

namespace pgvigil::pool {
namespace {

constexpr std::size_t kConnectionsMax = 16;
constexpr std::size_t kRequestMax = 8192;
constexpr Duration kConnectionTime = std::chrono::seconds(10);
constexpr Duration kRest = std::chrono::seconds(1);  // after accept() failed: descriptors may have run out

std::string response(std::string_view status, std::string_view type, std::string_view body, bool head) {
  std::string out = fmt::format("HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                                status, type, body.size());
  if (!head) out += body;
  return out;
}

class MetricsListener;

class Connection final : public netio::StreamHandler {
 public:
  explicit Connection(MetricsListener& listener) : listener_(listener) {}
  void begin(netio::StreamPtr stream, netio::Loop::TimerId timer) {
    stream_ = std::move(stream);
    timer_ = timer;
  }
  void on_received(netio::Slice bytes) override;
  void on_end(int) override { end(); }
  void on_room() override {}
  void on_tls() override {}
  void end();
  void answer(const std::string& text) {
    if (stream_) stream_->send(text);
    end();
  }
  [[nodiscard]] netio::Loop::TimerId timer() const { return timer_; }

 private:
  void answer_error(std::string_view status) { answer(response(status, "text/plain", "", false)); }

  MetricsListener& listener_;
  netio::StreamPtr stream_;
  netio::Loop::TimerId timer_ = 0;
  std::string request_;
  bool asked_ = false;
};

class MetricsListener final : public MetricsServer {
 public:
  MetricsListener(Control& control, int fd) : control_(control), fd_(fd), port_(local_of(fd).port()) { watch(); }
  ~MetricsListener() override {
    if (watching_) control_.loop().unwatch(watch_);
    if (resting_ != 0) control_.loop().cancel(resting_);
    for (const auto& connection : connections_) control_.loop().cancel(connection->timer());
    ::close(fd_);
  }
  [[nodiscard]] int port() const override { return port_; }

  void scrape(const std::shared_ptr<Connection>& connection, bool head) {
    take_snapshot(
        control_.pooler(), control_.statistics(), control_.loop().now(),
        kPoolFacts | kClientFacts | kServerFacts | kWorkerFacts,
        [weak = std::weak_ptr(connection), head](const std::shared_ptr<Snapshot>& snapshot) {
          const auto alive = weak.lock();
          if (!alive) return;
          alive->answer(response("200 OK", "text/plain; version=0.0.4; charset=utf-8", metrics_text(*snapshot), head));
        });
  }
  std::shared_ptr<Connection> own(const Connection& connection) {
    for (const auto& open : connections_) {
      if (open.get() == &connection) return open;
    }
    return nullptr;
  }
  void forget(const Connection& connection) {
    control_.loop().cancel(connection.timer());
    const auto open = own(connection);
    if (!open) return;
    connections_.remove(open);
    // Its method is on the stack.
    control_.loop().at_turn_end([open] {});
  }

 private:
  void watch() {
    watch_ = control_.loop().watch(fd_, netio::kReadable, [this](std::uint32_t) { accept_all(); });
    watching_ = true;
  }
  void accept_all() {
    for (;;) {
      const int fd = ::accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK) return;
        if (errno == EINTR || errno == ECONNABORTED) continue;
        return rest();
      }
      if (connections_.size() >= kConnectionsMax) {
        ::close(fd);
        continue;
      }
      auto connection = std::make_shared<Connection>(*this);
      connections_.push_back(connection);
      const auto timer =
          control_.loop().call_at(control_.loop().now() + kConnectionTime, [weak = std::weak_ptr(connection)] {
            if (const auto alive = weak.lock()) alive->end();
          });
      connection->begin(control_.loop().adopt(fd, *connection), timer);
    }
  }
  void rest() {
    control_.loop().unwatch(watch_);
    watching_ = false;
    resting_ = control_.loop().call_at(control_.loop().now() + kRest, [this] {
      resting_ = 0;
      watch();
    });
  }

  Control& control_;
  int fd_, port_;
  netio::Loop::WatchId watch_ = 0;
  bool watching_ = false;
  netio::Loop::TimerId resting_ = 0;
  std::list<std::shared_ptr<Connection>> connections_;
};

void Connection::end() {
  if (!stream_) return;
  stream_.reset();
  listener_.forget(*this);
}

void Connection::on_received(netio::Slice bytes) {
  if (asked_) return;
  request_ += bytes.text();
  if (request_.size() > kRequestMax) return answer_error("431 Request Header Fields Too Large");
  const auto headers_end = request_.find("\r\n\r\n");
  if (headers_end == std::string::npos) return;
  asked_ = true;
  const std::string_view line = std::string_view(request_).substr(0, request_.find("\r\n"));
  const auto method_end = line.find(' ');
  const auto target_end = method_end == std::string_view::npos ? method_end : line.find(' ', method_end + 1);
  if (target_end == std::string_view::npos || line.substr(target_end + 1, 5) != "HTTP/") {
    return answer_error("400 Bad Request");
  }
  const auto method = line.substr(0, method_end);
  auto target = line.substr(method_end + 1, target_end - method_end - 1);
  target = target.substr(0, target.find('?'));
  if (method != "GET" && method != "HEAD") return answer_error("405 Method Not Allowed");
  if (target != "/metrics") return answer_error("404 Not Found");
  if (const auto self = listener_.own(*this)) listener_.scrape(self, method == "HEAD");
}

struct HostPort {
  std::string host, port;
};
Result<HostPort> split(const std::string& listen) {
  const auto colon = listen.rfind(':');
  if (colon == std::string::npos || colon + 1 == listen.size()) {
    return fail(Errc::InvalidConfig, "metrics_listen names no port", listen, {}, "write host:port, as 127.0.0.1:9127");
  }
  std::string host = listen.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  if (host == "*") host.clear();
  return HostPort{std::move(host), listen.substr(colon + 1)};
}

Result<int> open_listener(const std::string& listen) {
  PGV_TRY(where, split(listen));
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int code = getaddrinfo(where.host.empty() ? nullptr : where.host.c_str(), where.port.c_str(), &hints, &found);
  if (code != 0) {
    return fail(Errc::InvalidConfig, "cannot resolve metrics_listen", listen, gai_strerror(code),
                "write host:port, as 127.0.0.1:9127");
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(found, freeaddrinfo);
  int failure = 0;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    const int fd = ::socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
      failure = errno;
      continue;
    }
    const int on = 1;
    static_cast<void>(::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
    if (::bind(fd, at->ai_addr, at->ai_addrlen) == 0 && ::listen(fd, 16) == 0) return fd;
    failure = errno;
    ::close(fd);
  }
  return fail(Errc::Failed, "cannot listen on metrics_listen", listen, errno_text(failure),
              "free the port or choose another one");
}

}  // namespace

Result<std::unique_ptr<MetricsServer>> make_metrics_server(Control& control, const std::string& listen) {
  PGV_TRY(fd, open_listener(listen));
  return std::make_unique<MetricsListener>(control, fd);
}

}  // namespace pgvigil::pool
