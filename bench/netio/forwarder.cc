// What the loop alone costs: a bare forwarder between clients and servers of a load generator in the same process, as a
// pooler in transaction mode would connect them. Prints CPU time of the forwarder's thread per transaction (one message
// each way, so two receives and two sends).
//
// usage: bench_netio [--clients N] [--servers N] [--seconds S] [--query BYTES] [--reply BYTES] [--tcp] [--runs N]
#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string_view>
#include <thread>
#include <vector>

#include "netio/loop.h"

namespace {

using namespace pgvigil;
using namespace pgvigil::netio;

struct Options {
  int clients = 40;
  int servers = 20;
  double seconds = 2;
  std::size_t query = 40;
  std::size_t reply = 100;
  bool tcp = false;
  int runs = 3;
};

void must(bool done, const char* what) {
  if (done) return;
  fmt::print(stderr, "{}: {}\n", what, errno_text(errno));
  std::exit(1);
}

struct Pair {
  int ours;
  int load;
};

Pair tcp_pair() {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  must(::bind(listener, reinterpret_cast<sockaddr*>(&address), size) == 0, "bind");
  must(::listen(listener, 1) == 0, "listen");
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  const int load = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  must(::connect(load, reinterpret_cast<sockaddr*>(&address), size) == 0, "connect");
  const int ours = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  ::close(listener);
  const int one = 1;
  for (const int fd : {ours, load}) ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return {ours, load};
}

Pair make_pair(bool tcp) {
  Pair pair{};
  if (tcp) {
    pair = tcp_pair();
  } else {
    int fds[2];
    must(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0, "socketpair");
    pair = {fds[0], fds[1]};
  }
  for (const int fd : {pair.ours, pair.load}) ::fcntl(fd, F_SETFL, O_NONBLOCK);
  return pair;
}

// Clients ask, get their reply and ask again; servers answer. One thread, plain epoll.
class Load {
 public:
  explicit Load(const Options& options) : options_(options), query_(options.query, 'q'), reply_(options.reply, 'r') {}

  void add(int fd, bool client) { ends_.push_back({fd, client, 0}); }
  void begin() {
    thread_ = std::thread([this] { run(); });
  }
  void stop() {
    stop_ = true;
    thread_.join();
    for (const End& end : ends_) ::close(end.fd);
  }
  [[nodiscard]] std::uint64_t transactions() const { return transactions_; }

 private:
  struct End {
    int fd;
    bool client;
    std::size_t got;
  };

  void send(const End& end, const std::string& bytes) {
    std::string_view left = bytes;
    while (!left.empty() && !stop_) {
      const auto done = ::send(end.fd, left.data(), left.size(), MSG_NOSIGNAL);
      if (done > 0) left.remove_prefix(static_cast<std::size_t>(done));
    }
  }

  void receive(End& end) {
    char bytes[65536];
    const auto got = ::recv(end.fd, bytes, sizeof bytes, 0);
    if (got <= 0) return;
    end.got += static_cast<std::size_t>(got);
    if (end.got < (end.client ? options_.reply : options_.query)) return;
    end.got = 0;
    if (end.client) transactions_.fetch_add(1, std::memory_order_relaxed);
    send(end, end.client ? query_ : reply_);
  }

  void run() {
    const int poll = ::epoll_create1(EPOLL_CLOEXEC);
    for (End& end : ends_) {
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.ptr = &end;
      ::epoll_ctl(poll, EPOLL_CTL_ADD, end.fd, &event);
    }
    for (const End& end : ends_) {
      if (end.client) send(end, query_);
    }
    epoll_event events[256];
    while (!stop_) {
      const int count = ::epoll_wait(poll, events, 256, 100);
      for (int i = 0; i < count; ++i) receive(*static_cast<End*>(events[i].data.ptr));
    }
    ::close(poll);
  }

  const Options options_;
  const std::string query_;
  const std::string reply_;
  std::vector<End> ends_;
  std::atomic<std::uint64_t> transactions_ = 0;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

class Forwarder {
 public:
  struct Server;
  struct Client final : StreamHandler {
    explicit Client(Forwarder& owner) : forwarder(owner) {}
    void on_received(Slice bytes) override { forwarder.from_client(*this, std::move(bytes)); }
    void on_end(int) override { stream.reset(); }
    void on_room() override {}
    void on_tls() override {}
    Forwarder& forwarder;
    StreamPtr stream;
    Server* server = nullptr;
  };
  struct Server final : StreamHandler {
    explicit Server(Forwarder& owner) : forwarder(owner) {}
    void on_received(Slice bytes) override { forwarder.from_server(*this, bytes); }
    void on_end(int) override { stream.reset(); }
    void on_room() override {}
    void on_tls() override {}
    Forwarder& forwarder;
    StreamPtr stream;
    Client* client = nullptr;
    std::size_t got = 0;
  };

  explicit Forwarder(const Options& options) : options_(options) {}

  void add(Loop& loop, int fd, bool client) {
    if (client) {
      clients_.emplace_back(*this);
      clients_.back().stream = loop.adopt(fd, clients_.back());
    } else {
      servers_.emplace_back(*this);
      servers_.back().stream = loop.adopt(fd, servers_.back());
      idle_.push_back(&servers_.back());
    }
  }
  void clear() {
    waiting_.clear();
    clients_.clear();
    servers_.clear();
  }

 private:
  void from_client(Client& client, Slice bytes) {
    if (client.server == nullptr && idle_.empty()) {
      client.stream->pause();
      waiting_.push_back({&client, std::move(bytes)});
      return;
    }
    if (client.server == nullptr) {
      client.server = idle_.back();
      idle_.pop_back();
      client.server->client = &client;
    }
    client.server->stream->send(bytes);
  }

  void from_server(Server& server, const Slice& bytes) {
    if (server.client == nullptr) return;
    server.client->stream->send(bytes);
    server.got += bytes.size;
    if (server.got < options_.reply) return;
    server.got = 0;
    server.client->server = nullptr;
    server.client = nullptr;
    if (waiting_.empty()) {
      idle_.push_back(&server);
      return;
    }
    Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    server.client = next.client;
    next.client->server = &server;
    next.client->stream->resume();
    server.stream->send(next.bytes);
  }

  struct Waiting {
    Client* client;
    Slice bytes;
  };
  const Options options_;
  std::deque<Client> clients_;
  std::deque<Server> servers_;
  std::vector<Server*> idle_;
  std::deque<Waiting> waiting_;
};

double thread_seconds(pthread_t thread) {
  clockid_t clock{};
  ::pthread_getcpuclockid(thread, &clock);
  timespec time{};
  ::clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

struct Figures {
  double nanoseconds;
  double rate;
  double share;
};

Figures measure(const Options& options, Backend backend) {
  auto made = make_loop({.backend = backend});
  if (!made) {
    fmt::print(stderr, "{}\n", made.error().message());
    std::exit(1);
  }
  Loop& loop = **made;
  Load load(options);
  Forwarder forwarder(options);
  for (int i = 0; i < options.clients + options.servers; ++i) {
    const Pair pair = make_pair(options.tcp);
    forwarder.add(loop, pair.ours, i < options.clients);
    load.add(pair.load, i < options.clients);
  }
  std::thread runner([&] { loop.run(); });
  ::pthread_setname_np(runner.native_handle(), "forwarder");  // for perf
  load.begin();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const double cpu = thread_seconds(runner.native_handle());
  const std::uint64_t before = load.transactions();
  const auto begun = std::chrono::steady_clock::now();
  std::this_thread::sleep_for(std::chrono::duration<double>(options.seconds));
  const double used = thread_seconds(runner.native_handle()) - cpu;
  const auto count = static_cast<double>(load.transactions() - before);
  const double passed = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  loop.stop();
  runner.join();
  load.stop();
  forwarder.clear();
  return {used / count * 1e9, count / passed, used / passed};
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  Backend only = Backend::Auto;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : "0";
    if (name == "--tcp") {
      options.tcp = true;
      continue;
    }
    if (name == "--clients") options.clients = std::atoi(value);
    if (name == "--servers") options.servers = std::atoi(value);
    if (name == "--seconds") options.seconds = std::atof(value);
    if (name == "--query") options.query = static_cast<std::size_t>(std::atoll(value));
    if (name == "--reply") options.reply = static_cast<std::size_t>(std::atoll(value));
    if (name == "--runs") options.runs = std::atoi(value);
    if (name == "--backend") only = std::string_view(value) == "epoll" ? Backend::Epoll : Backend::Uring;
    ++i;
  }
  for (int run = 0; run < options.runs; ++run) {
    for (const Backend backend : {Backend::Epoll, Backend::Uring}) {
      if (only != Backend::Auto && backend != only) continue;
      const Figures figures = measure(options, backend);
      fmt::print("{:9} {:6.0f} ns CPU a transaction, {:7.0f} transactions/s, {:.2f} cores\n",
                 backend == Backend::Epoll ? "epoll" : "io_uring", figures.nanoseconds, figures.rate, figures.share);
    }
  }
}
