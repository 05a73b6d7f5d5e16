#include "api/resolver.h"

#include <netdb.h>
#include <sys/socket.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <cstring>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace pgvigil::api {
namespace {

using Addresses = std::vector<asio::ip::address>;

Result<Addresses> look_up(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found); error != 0) {
    return fail(Errc::Unavailable, "cannot resolve", host, gai_strerror(error));
  }
  Addresses addresses;
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    asio::ip::tcp::endpoint endpoint;
    if (entry->ai_addrlen > endpoint.capacity()) continue;
    endpoint.resize(entry->ai_addrlen);
    std::memcpy(endpoint.data(), entry->ai_addr, entry->ai_addrlen);
    addresses.push_back(endpoint.address());
  }
  freeaddrinfo(found);
  if (addresses.empty()) return fail(Errc::Unavailable, "cannot resolve", host, "it has no address");
  return addresses;
}

}  // namespace

struct Resolver::Entry {
  explicit Entry(Clock& clock) : done(clock) {}
  Addresses addresses;  // of the last good answer
  TimePoint answered;
  bool looking = false;
  std::uint64_t finished = 0;  // lookups that have ended
  Error error;                 // of the last one, when it failed
  Signal done;
};

// Where lookup threads leave their answers. Closed by the resolver's end, so that a late thread posts to nobody.
struct Resolver::Mailbox {
  std::mutex mutex;
  Resolver* owner = nullptr;  // null: closed
  asio::any_io_executor executor;
};

Resolver::Resolver(Clock& clock) : clock_(clock), mailbox_(std::make_shared<Mailbox>()) {
  mailbox_->owner = this;
  mailbox_->executor = clock.executor();
}

Resolver::~Resolver() {
  const std::lock_guard<std::mutex> lock(mailbox_->mutex);
  mailbox_->owner = nullptr;
  mailbox_->executor = {};
}

void Resolver::start_lookup(const std::string& host, const std::shared_ptr<Entry>& entry) {
  auto deliver = [mailbox = mailbox_, entry](Result<Addresses> answer) {
    const std::lock_guard<std::mutex> lock(mailbox->mutex);
    if (mailbox->owner == nullptr) return;
    asio::post(mailbox->executor, [mailbox, entry, answer = std::move(answer)] {
      // Runs on the executor's thread, where the resolver also ends: the owner cannot vanish during this call.
      Resolver* owner = mailbox->owner;
      if (owner == nullptr) return;
      --owner->lookups_;
      entry->looking = false;
      ++entry->finished;
      if (answer) {
        entry->addresses = *answer;
        entry->answered = owner->clock_.now();
      } else {
        entry->error = answer.error();
      }
      entry->done.notify();
    });
  };
  entry->looking = true;
  ++lookups_;
  try {
    std::thread([host, deliver]() mutable { deliver(look_up(host)); }).detach();
  } catch (const std::system_error& error) {
    deliver(fail(Errc::Unavailable, "cannot start a thread to resolve", host, error.what()));
  }
}

Task<Result<Addresses>> Resolver::resolve(std::string host, TimePoint deadline) {
  boost::system::error_code not_numeric;
  const auto numeric = asio::ip::make_address(host, not_numeric);
  if (!not_numeric) co_return Addresses{numeric};

  if (entries_.size() >= kNamesMax && entries_.count(host) == 0) {
    std::erase_if(entries_, [](const auto& item) { return !item.second->looking; });
  }
  auto& slot = entries_[host];
  if (!slot) slot = std::make_shared<Entry>(clock_);
  const std::shared_ptr<Entry> entry = slot;
  const TimePoint now = clock_.now();
  if (!entry->addresses.empty() && now - entry->answered < kFresh) co_return entry->addresses;
  if (!entry->looking) {
    if (lookups_ >= kLookupsMax) {
      if (!entry->addresses.empty()) co_return entry->addresses;
      co_return fail(Errc::Unavailable, "cannot resolve", host, "too many lookups are under way");
    }
    start_lookup(host, entry);
  }
  // With an old answer in hand half of the time goes into a new one, the other half is left for using it.
  const TimePoint until = entry->addresses.empty() ? deadline : now + (deadline - now) / 2;
  const std::uint64_t finished = entry->finished;
  while (entry->finished == finished && clock_.now() < until) co_await entry->done.wait_until(until);
  if (!entry->addresses.empty()) co_return entry->addresses;
  if (entry->finished == finished) co_return fail(Errc::Timeout, "cannot resolve", host, "no answer in time");
  co_return tl::make_unexpected(entry->error);
}

asio::ip::address unmapped(const asio::ip::address& address) {
  if (!address.is_v6() || !address.to_v6().is_v4_mapped()) return address;
  return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
}

}  // namespace pgvigil::api
