#include "pool/dial.h"

#include <netinet/in.h>
#include <unistd.h>

#include <cerrno>
#include <iterator>

#include "pool/socket_options.h"
#include "pool/worker.h"

namespace pgvigil::pool {
namespace {

void set_port(Address& address, int port) {
  const auto wire = htons(static_cast<std::uint16_t>(port));
  if (address.storage.ss_family == AF_INET) {
    reinterpret_cast<sockaddr_in*>(&address.storage)->sin_port = wire;
  } else if (address.storage.ss_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6*>(&address.storage)->sin6_port = wire;
  }
}

}  // namespace

Dial::~Dial() {
  *alive_ = false;
  if (watch_ != 0) worker_.loop().unwatch(watch_);
  if (fd_ >= 0) ::close(fd_);
}

void Dial::to_host(const std::string& host, int port, Done done) {
  const std::string& place = host.empty() ? worker_.settings().unix_socket_dir : host;
  if (!place.empty() && (place[0] == '/' || place[0] == '@')) {
    to_address(unix_address(place, port), std::move(done));
    return;
  }
  if (auto literal = literal_address(place, port)) {
    to_address(*literal, std::move(done));
    return;
  }
  done_ = std::move(done);
  worker_.pooler().resolver->resolve(place, worker_.loop(),
                                     [this, alive = alive_, port, place](Result<std::vector<Address>> found) {
                                       if (!*alive) return;
                                       if (!found || found->empty()) {
                                         finish(fail(Errc::Unavailable, "server DNS lookup failed", place));
                                         return;
                                       }
                                       for (Address& address : *found) {
                                         address.host = place;
                                         set_port(address, port);
                                       }
                                       // One that nobody listens on must not make the name fail: localhost is often
                                       // both ::1 and 127.0.0.1, and the server listens on one of them.
                                       others_.assign(found->rbegin(), std::prev(found->rend()));
                                       begin(found->front());
                                     });
}

void Dial::to_address(const Address& address, Done done) {
  done_ = std::move(done);
  begin(address);
}

void Dial::begin(const Address& address) {
  address_ = address;
  fd_ = socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) {
    refused(errno);
    return;
  }
  // A kernel that does not take an option works without it.
  if (!address.unix_socket()) tune_tcp(fd_, worker_.settings());
  if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address_.storage), address_.size) == 0) {
    const int fd = std::exchange(fd_, -1);
    finish(fd);
    return;
  }
  // EAGAIN is what a Unix socket with a full backlog says; there is nothing to wait for.
  if (errno != EINPROGRESS) {
    refused(errno);
    return;
  }
  watch_ = worker_.loop().watch(fd_, netio::kWritable, [this](std::uint32_t) {
    worker_.loop().unwatch(std::exchange(watch_, 0));
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
      refused(error);
      return;
    }
    const int fd = std::exchange(fd_, -1);
    finish(fd);
  });
}

void Dial::refused(int error) {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  if (others_.empty()) {
    finish(fail(Errc::Unavailable, "connect failed", address_.text(), errno_text(error)));
    return;
  }
  const Address next = std::move(others_.back());
  others_.pop_back();
  begin(next);
}

void Dial::finish(Result<int> result) {
  // The callback may destroy this object.
  const Done done = std::move(done_);
  const Address address = address_;
  done(std::move(result), address);
}

}  // namespace pgvigil::pool
