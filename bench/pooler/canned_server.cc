// A PostgreSQL that has every answer ready. Each thread has an epoll of its own; the first one accepts and deals out.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <iostream>
#include <memory>
#include <thread>
#include <unordered_map>
#include <vector>

#include "options.h"
#include "wire.h"

namespace bench {
namespace {

enum class Answer { One, Hundred, Mega, CopyIn, CopyOut, Command, Empty };

std::string row_description(const std::vector<std::string_view>& names) {
  std::string body;
  put_int16(body, static_cast<uint16_t>(names.size()));
  for (const auto name : names) {
    body += with_zero(name);
    put_int32(body, 0);
    put_int16(body, 0);
    put_int32(body, 25);
    put_int16(body, 0xffff);
    put_int32(body, 0xffffffff);
    put_int16(body, 0);
  }
  return message('T', body);
}

std::string data_row(const std::vector<std::string_view>& values) {
  std::string body;
  put_int16(body, static_cast<uint16_t>(values.size()));
  for (const auto value : values) {
    put_int32(body, static_cast<uint32_t>(value.size()));
    body += value;
  }
  return message('D', body);
}

struct Canned {
  std::string description;
  std::string rows;  // with CommandComplete
};

const Canned& canned(Answer answer) {
  static const Canned one{row_description({"abalance"}), data_row({"0"}) + message('C', with_zero("SELECT 1"))};
  static const Canned hundred = [] {
    Canned out{row_description({"aid", "bid", "abalance", "filler"}), {}};
    for (int i = 0; i < 100; ++i) {
      out.rows += data_row({std::to_string(100000 + i), "1", "-4711", std::string(40, 'f')});
    }
    out.rows += message('C', with_zero("SELECT 100"));
    return out;
  }();
  static const Canned mega{row_description({"body"}),
                           data_row({std::string(kMegabyte, 'm')}) + message('C', with_zero("SELECT 1"))};
  static const Canned command{{}, message('C', with_zero("SET"))};
  static const Canned empty{{}, message('I')};
  switch (answer) {
    case Answer::Hundred: return hundred;
    case Answer::Mega: return mega;
    case Answer::Command: return command;
    case Answer::Empty: return empty;
    default: return one;
  }
}

const std::string kReady = message('Z', "I");

std::string welcome() {
  std::string out = message('R', std::string(4, '\0'));
  const std::array<std::pair<std::string_view, std::string_view>, 14> parameters{
      {{"application_name", ""},
       {"client_encoding", "UTF8"},
       {"DateStyle", "ISO, MDY"},
       {"default_transaction_read_only", "off"},
       {"in_hot_standby", "off"},
       {"integer_datetimes", "on"},
       {"IntervalStyle", "postgres"},
       {"is_superuser", "off"},
       {"server_encoding", "UTF8"},
       {"server_version", "15.0"},
       {"session_authorization", "bench"},
       {"standard_conforming_strings", "on"},
       {"TimeZone", "UTC"},
       {"scram_iterations", "4096"}}};
  for (const auto& [name, value] : parameters) out += message('S', with_zero(name) + with_zero(value));
  std::string key;
  put_int32(key, 4711);
  put_int32(key, 815);
  return out + message('K', key) + kReady;
}

class Session {
 public:
  Session(int fd, int epoll) : fd_(fd), epoll_(epoll) {}
  ~Session() { ::close(fd_); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // False when the connection is over.
  bool on_event(uint32_t events) {
    if ((events & EPOLLIN) != 0 && !receive()) return false;
    if ((events & (EPOLLERR | EPOLLHUP)) != 0 && (events & EPOLLIN) == 0) return false;
    return flush();
  }

 private:
  bool receive() {
    static thread_local std::vector<char> buffer(256 * 1024);
    const ssize_t count = ::recv(fd_, buffer.data(), buffer.size(), 0);
    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) return false;
    if (count < 0) return true;
    in_.append(buffer.data(), static_cast<size_t>(count));
    size_t at = 0;
    while (true) {
      const std::string_view left(in_.data() + at, in_.size() - at);
      const size_t header = logged_in_ ? 5 : 4;
      if (left.size() < header) break;
      const uint32_t length = get_int32(left.data() + header - 4);
      const size_t whole = length + (logged_in_ ? 1 : 0);
      if (length < 4 || left.size() < whole) break;
      const std::string_view body = left.substr(header, whole - header);
      if (logged_in_ ? !handle(left[0], body) : !handle_startup(body)) return false;
      at += whole;
    }
    in_.erase(0, at);
    return true;
  }

  bool handle_startup(std::string_view body) {
    const uint32_t code = body.size() < 4 ? 0 : get_int32(body.data());
    if (code == kSslRequest || code == kGssRequest) {
      out_ += 'N';
    } else if (code == kCancelRequest) {
      return false;
    } else {
      static const std::string hello = welcome();
      out_ += hello;
      logged_in_ = true;
    }
    return true;
  }

  bool handle(char type, std::string_view body) {
    switch (type) {
      case 'Q': answer_query(body.substr(0, body.find('\0'))); break;
      case 'P': {
        const auto name = body.substr(0, body.find('\0'));
        const auto rest = body.substr(name.size() + 1);
        statements_[std::string(name)] = what_is(rest.substr(0, rest.find('\0')));
        out_ += message('1');
        break;
      }
      case 'B': {
        const auto rest = body.substr(body.find('\0') + 1);
        portal_ = statements_[std::string(rest.substr(0, rest.find('\0')))];
        out_ += message('2');
        break;
      }
      case 'D': {
        const auto& described =
            body[0] == 'S' ? canned(statements_[std::string(body.substr(1, body.size() - 2))]) : canned(portal_);
        if (body[0] == 'S') out_ += message('t', std::string(2, '\0'));
        out_ += described.description.empty() ? message('n') : described.description;
        break;
      }
      case 'E': out_ += canned(portal_).rows; break;
      case 'C':
        if (body[0] == 'S') statements_.erase(std::string(body.substr(1, body.size() - 2)));
        out_ += message('3');
        break;
      case 'S': out_ += kReady; break;
      case 'H':
      case 'd':
      case 'f': break;
      case 'c': out_ += message('C', with_zero("COPY 1")) + kReady; break;
      default: return false;
    }
    return true;
  }

  Answer what_is(std::string_view sql) {
    if (sql.empty()) return Answer::Empty;
    if (sql.starts_with("SET") || sql.starts_with("DISCARD")) return Answer::Command;
    if (sql.find("hundred") != sql.npos) return Answer::Hundred;
    if (sql.find("mega") != sql.npos) return Answer::Mega;
    if (sql.find("copyin") != sql.npos) return Answer::CopyIn;
    if (const auto at = sql.find("copyout "); at != sql.npos) {
      copy_left_ = std::strtoull(std::string(sql.substr(at + 8)).c_str(), nullptr, 10);
      return Answer::CopyOut;
    }
    return Answer::One;
  }

  void answer_query(std::string_view sql) {
    const Answer answer = what_is(sql);
    const std::string format(3, '\0');  // text, no columns named
    if (answer == Answer::CopyIn) {
      out_ += message('G', format);
    } else if (answer == Answer::CopyOut) {
      out_ += message('H', format);
      copying_out_ = true;
    } else {
      out_ += canned(answer).description;
      out_ += canned(answer).rows;
      out_ += kReady;
    }
  }

  bool flush() {
    while (true) {
      if (sent_ == out_.size()) {
        out_.clear();
        sent_ = 0;
        if (!copying_out_) break;
        refill();
      }
      const ssize_t count = ::send(fd_, out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
      if (count < 0) {
        if (errno != EAGAIN && errno != EINTR) return false;
        return watch(EPOLLIN | EPOLLOUT);
      }
      sent_ += static_cast<size_t>(count);
    }
    return watch(EPOLLIN);
  }

  void refill() {
    static const std::string chunk = message('d', std::string(kCopyChunk - 1, 'c') + '\n');
    for (int i = 0; i < 16 && copy_left_ > 0; ++i) {
      out_ += chunk;
      copy_left_ -= std::min<uint64_t>(copy_left_, kCopyChunk);
    }
    if (copy_left_ == 0) {
      out_ += message('c') + message('C', with_zero("COPY 1")) + kReady;
      copying_out_ = false;
    }
  }

  bool watch(uint32_t events) {
    if (events == watched_) return true;
    watched_ = events;
    epoll_event event{.events = events, .data = {.ptr = this}};
    return ::epoll_ctl(epoll_, EPOLL_CTL_MOD, fd_, &event) == 0;
  }

  int fd_;
  int epoll_;
  uint32_t watched_ = EPOLLIN;
  bool logged_in_ = false;
  std::string in_;
  std::string out_;
  size_t sent_ = 0;
  std::unordered_map<std::string, Answer> statements_;
  Answer portal_ = Answer::One;
  bool copying_out_ = false;
  uint64_t copy_left_ = 0;
};

void deal_out(int listener, const std::vector<int>& epolls) {
  static size_t turn = 0;
  while (true) {
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    const int one = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    const int epoll = epolls[turn++ % epolls.size()];
    auto* session = new Session(fd, epoll);  // owned by its epoll; deleted in serve
    epoll_event event{.events = EPOLLIN, .data = {.ptr = session}};
    ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  }
}

void serve(int epoll, int listener, const std::vector<int>& epolls) {
  std::array<epoll_event, 256> events{};
  while (true) {
    const int count = ::epoll_wait(epoll, events.data(), events.size(), -1);
    for (int i = 0; i < count; ++i) {
      auto* session = static_cast<Session*>(events[static_cast<size_t>(i)].data.ptr);
      if (session == nullptr) {
        deal_out(listener, epolls);
      } else if (!session->on_event(events[static_cast<size_t>(i)].events)) {
        delete session;
      }
    }
  }
}

}  // namespace

int run_server(const Options& options) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int one = 1;
  ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(options.number("port", 0)));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || ::listen(listener, 1024) != 0) {
    std::cerr << "pgvigil-bench-pooler: cannot listen on port " << options.text("port") << ": " << std::strerror(errno)
              << "\n";
    return 1;
  }
  const auto threads = std::max<size_t>(1, static_cast<size_t>(options.number("threads", 1)));
  std::vector<int> epolls(threads);
  for (int& epoll : epolls) epoll = ::epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};
  ::epoll_ctl(epolls[0], EPOLL_CTL_ADD, listener, &event);
  std::vector<std::thread> others;
  for (size_t i = 1; i < threads; ++i) others.emplace_back(serve, epolls[i], listener, std::cref(epolls));
  serve(epolls[0], listener, epolls);
  return 0;
}

}  // namespace bench
