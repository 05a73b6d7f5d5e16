// A whole session through the real pooler: what a client sends after its login and what a server answers to it, in any
// pieces. The pooler (one worker, transaction mode) runs in this process; client and server are sockets of this file.
//
// Input: pieces one behind the other, each with one byte in front: bit 7 says that the server sends it, the rest is the
// length. Pieces of the client go out in order; the server sends its own ones when the first bytes reach it.
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "pgwire/messages.h"
#include "pool/load_running_config.h"
#include "pool/pool_process.h"

using namespace pgvigil;

namespace {

constexpr int kPort = 6432;
constexpr int kQuietMs = 2;      // nothing comes any more: this input has had its effect
constexpr int kLoginMs = 5000;   // a login that takes longer: the pooler stands still
constexpr int kProveEvery = 64;  // inputs between two sessions that have to work

sockaddr_un address_of(const std::string& directory, int port) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = directory + "/.s.PGSQL." + std::to_string(port);
  FUZZ_CHECK(path.size() < sizeof address.sun_path);
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

void write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto n = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n <= 0) return;  // the pooler has closed, or does not read: both are allowed
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

// What comes within the time; `open` becomes false with the end of the stream.
std::string read_some(int fd, int milliseconds, bool& open) {
  pollfd wait{fd, POLLIN, 0};
  if (::poll(&wait, 1, milliseconds) <= 0) return {};
  char bytes[16384];
  const auto n = ::recv(fd, bytes, sizeof bytes, 0);
  if (n <= 0) {
    open = false;
    return {};
  }
  return {bytes, static_cast<std::size_t>(n)};
}

struct Harness {
  std::string directory;
  pool::PoolOptions options;
  pool::PoolLog log;
  std::unique_ptr<pool::PoolProcess> process;
  std::thread thread;
  int server_socket = -1;
  int proofs = 0;

  Harness() {
    std::string made = "/tmp/pgvigil-session-fuzz-XXXXXX";
    FUZZ_CHECK(mkdtemp(made.data()) != nullptr);
    directory = made;
    listen_as_server();
    std::ofstream(directory + "/ini") << "[databases]\ndb = host=" << directory << " port=5432 user=app\n[pgbouncer]\n"
                                      << "unix_socket_dir = " << directory << "\nlisten_port = " << kPort
                                      << "\nauth_type = any\npool_mode = transaction\nmax_prepared_statements = 5\n"
                                      << "server_login_retry = 0\nworkers = 1\nio_backend = epoll\n"
                                      << "max_packet_size = 65536\nlog_connections = 0\nlog_disconnections = 0\n"
                                      << "log_pooler_errors = 0\nlog_stats = 0\ndefault_pool_size = 2\n";
    log.standard_error(false);
    auto config = pool::load_running_config(directory + "/ini", nullptr);
    FUZZ_CHECK(config.has_value());
    auto signals = pool::SignalSource::make();
    auto loop = netio::make_loop({netio::Backend::Epoll});
    std::vector<pool::ListenSocket> none_taken_over;
    auto sockets = pool::open_listen_sockets((*config)->settings(), log, none_taken_over);
    FUZZ_CHECK(signals.has_value() && loop.has_value() && sockets.has_value());
    process = std::make_unique<pool::PoolProcess>(options, *config, log, std::move(*loop), 1, std::move(*sockets),
                                                  std::move(*signals));
    thread = std::thread([this] { process->run([this] { FUZZ_CHECK(process->start(std::nullopt).has_value()); }); });
    thread.detach();                // it ends with the process
    std::atexit([] { _exit(0); });  // nothing is taken apart under the running threads
  }

  void listen_as_server() {
    server_socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const auto address = address_of(directory, 5432);
    FUZZ_CHECK(::bind(server_socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    FUZZ_CHECK(::listen(server_socket, 64) == 0);
  }
};

// A server connection of the pooler, and what it still has to say.
struct FakeServer {
  int fd;
  bool logged_in = false;
};

class Session {
 public:
  explicit Session(Harness& harness) : harness_(harness) {
    client_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const auto address = address_of(harness.directory, kPort);
    for (int i = 0; ::connect(client_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0; ++i) {
      FUZZ_CHECK(i < kLoginMs);  // at the start: it does not listen yet
      ::usleep(1000);
    }
    write_all(client_, pgwire::startup_message({{"user", "app"}, {"database", "db"}}));
    std::string answer;
    for (int i = 0; answer.find(std::string_view("Z\0\0\0\5I", 6)) == std::string::npos; ++i) {
      FUZZ_CHECK(open_ && i < kLoginMs);
      serve();
      answer += read_some(client_, 1, open_);
    }
  }
  ~Session() {
    ::close(client_);
    for (const auto& server : servers_) ::close(server.fd);
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void answer_with(std::vector<std::string> pieces) { script_ = std::move(pieces); }
  void send(std::string_view bytes) {
    write_all(client_, bytes);
    serve();
  }
  // Until nothing moves any more, or the text has come.
  std::string finish(std::string_view wanted = {}) {
    std::string got;
    for (int quiet = 0; open_ && (wanted.empty() ? quiet < kQuietMs : quiet < kLoginMs);) {
      const bool moved = serve();
      const std::string more = read_some(client_, moved ? 0 : 1, open_);
      quiet = moved || !more.empty() ? 0 : quiet + 1;
      got += more;
      if (!wanted.empty() && got.find(wanted) != std::string::npos) break;
    }
    return got;
  }

 private:
  // Accepts what the pooler opens, logs it in, and says the script to the first request. True: something was done.
  bool serve() {
    bool moved = false;
    pollfd waiting{harness_.server_socket, POLLIN, 0};
    while (::poll(&waiting, 1, 0) > 0) {
      servers_.push_back({::accept4(harness_.server_socket, nullptr, nullptr, SOCK_CLOEXEC)});
      moved = true;
    }
    for (std::size_t i = 0; i < servers_.size();) {
      FakeServer& server = servers_[i];
      bool open = true;
      const std::string request = read_some(server.fd, 0, open);
      if (!open) {
        ::close(server.fd);
        servers_.erase(servers_.begin() + static_cast<std::ptrdiff_t>(i));
        continue;
      }
      if (!request.empty()) {
        moved = true;
        if (!server.logged_in) {
          server.logged_in = true;
          std::string welcome("R\0\0\0\10\0\0\0\0", 9);
          pgwire::parameter_status(welcome, "server_version", "15.0");
          welcome.append("K\0\0\0\14\0\0\0\1\0\0\0\2", 13).append("Z\0\0\0\5I", 6);
          write_all(server.fd, welcome);
        } else {
          for (const auto& piece : script_) write_all(server.fd, piece);
          script_.clear();
        }
      }
      ++i;
    }
    return moved;
  }

  Harness& harness_;
  int client_;
  bool open_ = true;
  std::vector<FakeServer> servers_;
  std::vector<std::string> script_;
};

// Whatever came before: the next client is served.
void prove_alive(Harness& harness) {
  Session session(harness);
  session.answer_with({std::string("C\0\0\0\15SELECT 1\0Z\0\0\0\5I", 20)});
  session.send(std::string_view("Q\0\0\0\15SELECT 1\0", 14));
  FUZZ_CHECK(session.finish("SELECT 1").find("SELECT 1") != std::string::npos);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const char* data, std::size_t size) {
  static Harness& harness = *new Harness;
  std::vector<std::string> from_client, from_server;
  for (std::size_t at = 0; at < size;) {
    const auto head = static_cast<unsigned char>(data[at++]);
    const std::size_t length = std::min<std::size_t>(head & 0x7F, size - at);
    (head & 0x80 ? from_server : from_client).emplace_back(data + at, length);
    at += length;
  }
  {
    Session session(harness);
    session.answer_with(std::move(from_server));
    for (const auto& piece : from_client) session.send(piece);
    session.finish();
  }
  if (++harness.proofs % kProveEvery == 0) prove_alive(harness);
  return 0;
}
