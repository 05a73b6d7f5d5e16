#include "load_connection.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "wire.h"

namespace bench {

void LoadConnection::connect() {
  fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int one = 1;
  ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(plan_.port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  (void)::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address);  // its outcome comes as an event
  state_ = State::Connecting;
  watched_ = EPOLLOUT;
  epoll_event event{.events = watched_, .data = {.ptr = this}};
  ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd_, &event);
}

void LoadConnection::disconnect() {
  if (ssl_ != nullptr) SSL_free(ssl_);
  if (fd_ >= 0) ::close(fd_);
  ssl_ = nullptr;
  fd_ = -1;
  state_ = State::Closed;
  pending_.clear();
  skip_ = 0;
  out_ = {};
  copying_ = false;
}

Progress LoadConnection::fail(std::string why) {
  if (error_.empty()) error_ = std::move(why);
  disconnect();
  return Progress::Failed;
}

void LoadConnection::begin() {
  state_ = State::Busy;
  out_ = plan_.batch;
  flush();
}

void LoadConnection::send(std::string bytes) {
  own_ = std::move(bytes);
  out_ = own_;
  flush();
}

void LoadConnection::send_startup() {
  std::string body;
  put_int32(body, kProtocol3);
  body += with_zero("user") + with_zero(plan_.user) + with_zero("database") + with_zero(plan_.database) + '\0';
  std::string out;
  put_int32(out, static_cast<uint32_t>(body.size() + 4));
  state_ = State::Login;
  send(out + body);
}

Progress LoadConnection::on_event(uint32_t events) {
  if (state_ == State::Connecting) {
    int problem = 0;
    socklen_t size = sizeof problem;
    ::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &problem, &size);
    if (problem != 0) return fail(std::string("connect: ") + std::strerror(problem));
    watch(EPOLLIN);
    if (plan_.tls) {
      std::string request;
      put_int32(request, 8);
      put_int32(request, kSslRequest);
      state_ = State::SslReply;
      send(request);
    } else {
      send_startup();
    }
    return Progress::Going;
  }
  if (state_ == State::SslReply) {
    char reply = 0;
    if (::recv(fd_, &reply, 1, 0) != 1 || reply != 'S') return fail("the pooler refuses TLS");
    ssl_ = SSL_new(plan_.context);
    SSL_set_fd(ssl_, fd_);
    SSL_set_connect_state(ssl_);
    state_ = State::Handshake;
    return handshake();
  }
  if (state_ == State::Handshake) return handshake();
  if ((events & EPOLLOUT) != 0 && !flush()) return fail("write failed");
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) return receive();
  return Progress::Going;
}

Progress LoadConnection::handshake() {
  const int result = SSL_do_handshake(ssl_);
  if (result == 1) {
    watch(EPOLLIN);
    send_startup();
    return Progress::Going;
  }
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ: watch(EPOLLIN); return Progress::Going;
    case SSL_ERROR_WANT_WRITE: watch(EPOLLOUT); return Progress::Going;
    default: return fail("TLS handshake failed");
  }
}

ssize_t LoadConnection::read_some(char* data, size_t size) {
  if (ssl_ == nullptr) return ::recv(fd_, data, size, 0);
  const int count = SSL_read(ssl_, data, static_cast<int>(size));
  if (count > 0) return count;
  const int why = SSL_get_error(ssl_, count);
  if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
    errno = EAGAIN;
    return -1;
  }
  return 0;
}

ssize_t LoadConnection::write_some(const char* data, size_t size) {
  if (ssl_ == nullptr) return ::send(fd_, data, size, MSG_NOSIGNAL);
  const int count = SSL_write(ssl_, data, static_cast<int>(std::min<size_t>(size, 1 << 30)));
  if (count > 0) return count;
  errno = SSL_get_error(ssl_, count) == SSL_ERROR_WANT_WRITE ? EAGAIN : EPIPE;
  return -1;
}

bool LoadConnection::flush() {
  static const std::string chunks = [] {
    std::string out;
    for (int i = 0; i < 16; ++i) out += message('d', std::string(kCopyChunk - 1, 'c') + '\n');
    return out;
  }();
  while (true) {
    if (out_.empty() && copying_) {
      if (copy_left_ > 0) {
        out_ = chunks;
        copy_left_ -= std::min<uint64_t>(copy_left_, 16 * kCopyChunk);
      } else {
        copying_ = false;
        own_ = message('c');
        out_ = own_;
      }
    }
    if (out_.empty()) break;
    const ssize_t count = write_some(out_.data(), out_.size());
    if (count < 0) {
      if (errno != EAGAIN) return false;
      watch(EPOLLIN | EPOLLOUT);
      return true;
    }
    sent += static_cast<uint64_t>(count);
    out_.remove_prefix(static_cast<size_t>(count));
  }
  watch(EPOLLIN);
  return true;
}

Progress LoadConnection::receive() {
  static thread_local std::vector<char> buffer(256 * 1024);
  while (true) {
    const ssize_t count = read_some(buffer.data(), buffer.size());
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return Progress::Going;
    if (count <= 0) return fail("the pooler closed the connection");
    received += static_cast<uint64_t>(count);
    const Progress progress = consume(buffer.data(), static_cast<size_t>(count));
    if (progress != Progress::Going) return progress;
    if (ssl_ == nullptr && static_cast<size_t>(count) < buffer.size()) return Progress::Going;
  }
}

Progress LoadConnection::consume(const char* data, size_t size) {
  Progress progress = Progress::Going;
  while (size > 0) {
    if (skip_ > 0) {
      const size_t count = std::min<size_t>(skip_, size);
      skip_ -= static_cast<uint32_t>(count);
      data += count;
      size -= count;
      continue;
    }
    const size_t header = std::min<size_t>(pending_.size() < 5 ? 5 - pending_.size() : 0, size);
    pending_.append(data, header);
    data += header;
    size -= header;
    if (pending_.size() < 5) break;
    const char type = pending_[0];
    const uint32_t length = get_int32(pending_.data() + 1);
    if (type == 'R' || type == 'E') {
      const size_t count = std::min<size_t>(length + 1 - pending_.size(), size);
      pending_.append(data, count);
      data += count;
      size -= count;
      if (pending_.size() < length + 1) break;
    } else {
      skip_ = length - 4;
    }
    const std::string whole = std::move(pending_);
    pending_.clear();
    const Progress now = handle(type, std::string_view(whole).substr(5));
    if (now == Progress::Failed) return now;
    if (now != Progress::Going) progress = now;
  }
  return progress;
}

Progress LoadConnection::handle(char type, std::string_view body) {
  switch (type) {
    case 'R': return authenticate(body);
    case 'E': {
      const auto text = body.find('M') == body.npos ? body : body.substr(body.find("\0M", 0, 2) + 2);
      error_ = std::string(text.substr(0, text.find('\0')));
      return state_ == State::Busy ? Progress::Going : fail(error_);
    }
    case 'G':
      copying_ = true;
      copy_left_ = plan_.copy_bytes;
      return flush() ? Progress::Going : fail("write failed");
    case 'Z':
      if (state_ == State::Login && !plan_.prepare.empty()) {
        state_ = State::Prepare;
        send(plan_.prepare);
        return Progress::Going;
      }
      if (state_ == State::Busy) {
        state_ = State::Ready;
        return Progress::Done;
      }
      state_ = State::Ready;
      return Progress::Ready;
    default: return Progress::Going;
  }
}

Progress LoadConnection::authenticate(std::string_view body) {
  switch (get_int32(body.data())) {
    case 0:
    case 12: return Progress::Going;
    case 3: send(message('p', with_zero(plan_.password))); return Progress::Going;
    case 10: send(message('p', scram_.first())); return Progress::Going;
    case 11: send(message('p', scram_.final(body.substr(4), plan_.password))); return Progress::Going;
    default: return fail("an authentication that the load client does not know");
  }
}

void LoadConnection::watch(uint32_t events) {
  if (events == watched_ || fd_ < 0) return;
  watched_ = events;
  epoll_event event{.events = events, .data = {.ptr = this}};
  ::epoll_ctl(epoll_, EPOLL_CTL_MOD, fd_, &event);
}

}  // namespace bench
