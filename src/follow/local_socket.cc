#include "follow/local_socket.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <memory>

namespace pgvigil::follow {
namespace {

bool is_socket(const std::string& directory, int port) {
  struct stat info {};
  return stat(fmt::format("{}/.s.PGSQL.{}", directory, port).c_str(), &info) == 0 && S_ISSOCK(info.st_mode);
}

// An address is this machine's when a socket can be bound to it.
bool can_bind(const addrinfo& address) {
  const int fd = socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const bool bound = bind(fd, address.ai_addr, address.ai_addrlen) == 0;
  close(fd);
  return bound;
}

}  // namespace

bool belongs_to(const std::string& directory, int port, const SystemId& cluster) {
  if (cluster.empty()) return false;
  // Its second line is the data directory (PostgreSQL, miscinit.c); pg_control begins with the system identifier.
  std::ifstream lock(fmt::format("{}/.s.PGSQL.{}.lock", directory, port));
  std::string pid, data;
  if (!std::getline(lock, pid) || !std::getline(lock, data)) return false;
  std::ifstream control(data + "/global/pg_control", std::ios::binary);
  char bytes[sizeof(std::uint64_t)];
  if (!control.read(bytes, sizeof bytes)) return false;
  std::uint64_t id = 0;
  std::memcpy(&id, bytes, sizeof id);
  return std::to_string(id) == cluster.text();
}

LocalSockets::LocalSockets(std::string setting, std::vector<std::string> more)
    : setting_(std::move(setting)), directories_(std::move(more)) {
  for (const char* usual : {"/var/run/postgresql", "/tmp"}) directories_.emplace_back(usual);
}

bool LocalSockets::is_local(const std::string& host) {
  const auto known = local_.find(host);
  if (known != local_.end()) return known->second;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), "0", &hints, &found) != 0) return false;
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, freeaddrinfo);
  bool all = found != nullptr;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) all = all && can_bind(*one);
  local_[host] = all;
  return all;
}

std::string LocalSockets::directory(const std::string& host, int port, const SystemId& cluster) {
  if (setting_ == "off" || host.empty()) return {};
  if (setting_ != "auto") return is_socket(setting_, port) && is_local(host) ? setting_ : std::string();
  for (const auto& directory : directories_) {
    if (directory.empty() || directory[0] != '/' || !is_socket(directory, port)) continue;
    if (is_local(host) && belongs_to(directory, port, cluster)) return directory;
  }
  return {};
}

}  // namespace pgvigil::follow
