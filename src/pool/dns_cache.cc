#include "pool/dns_cache.h"

#include <algorithm>
#include <utility>

namespace pgvigil::pool {

void DnsCache::configure(Duration success_kept, Duration failure_kept) {
  success_kept_ = success_kept;
  failure_kept_ = failure_kept;
}

Result<std::vector<Address>> DnsCache::deliver(Entry& entry) {
  if (entry.error) return tl::make_unexpected(*entry.error);
  std::vector<Address> turned = entry.addresses;
  std::rotate(turned.begin(), turned.begin() + static_cast<std::ptrdiff_t>(entry.turn % turned.size()), turned.end());
  ++entry.turn;
  return turned;
}

DnsCache::LookUp DnsCache::look_up(const std::string& name, Waiter waiter, TimePoint now) {
  Entry& entry = entries_[name];
  entry.last_used = now;
  LookUp result;
  if (!entry.asking && now < entry.valid_until) {
    result.known = true;
    result.answer = deliver(entry);
    return result;
  }
  entry.waiters.push_back(std::move(waiter));
  result.ask = !std::exchange(entry.asking, true);
  return result;
}

bool DnsCache::refresh(const std::string& name) {
  const auto entry = entries_.find(name);
  return entry != entries_.end() && !std::exchange(entry->second.asking, true);
}

DnsCache::Outcome DnsCache::release(Entry& entry) {
  entry.asking = false;
  Outcome outcome;
  for (auto& waiter : std::exchange(entry.waiters, {})) {
    auto answer = deliver(entry);
    outcome.waiters.emplace_back(std::move(waiter), std::move(answer));
  }
  return outcome;
}

DnsCache::Outcome DnsCache::answered(const std::string& name, std::vector<Address> addresses, TimePoint now) {
  if (addresses.empty()) {
    return failed(name, Error{Errc::NotFound, "the name has no address", name, {}, {}}, now);
  }
  Entry& entry = entries_[name];
  const auto still_there = [&](const Address& old) {
    return std::any_of(addresses.begin(), addresses.end(), [&](const Address& a) { return a.ip() == old.ip(); });
  };
  const bool lost = !std::all_of(entry.addresses.begin(), entry.addresses.end(), still_there);
  entry.addresses = std::move(addresses);
  entry.error.reset();
  entry.valid_until = now + success_kept_;
  Outcome outcome = release(entry);
  outcome.lost_some = lost;
  return outcome;
}

DnsCache::Outcome DnsCache::failed(const std::string& name, const Error& error, TimePoint now) {
  Entry& entry = entries_[name];
  // Name servers that do not answer say nothing about the addresses: the last ones are tried on. NotFound does.
  if (error.code == Errc::NotFound || entry.addresses.empty()) entry.error = error;
  entry.valid_until = now + failure_kept_;
  return release(entry);
}

std::vector<Resolver::HostRow> DnsCache::rows(TimePoint now) const {
  std::vector<Resolver::HostRow> all;
  for (const auto& [name, entry] : entries_) {
    const Duration left = std::max(entry.valid_until - now, Duration(0));
    Resolver::HostRow row{name, std::chrono::duration_cast<std::chrono::seconds>(left).count(), {}};
    if (!entry.error) row.addresses = entry.addresses;
    all.push_back(std::move(row));
  }
  return all;
}

std::vector<std::string> DnsCache::names() const {
  std::vector<std::string> all;
  for (const auto& [name, entry] : entries_) {
    if (!entry.addresses.empty()) all.push_back(name);
  }
  return all;
}

std::size_t DnsCache::asking() const {
  return static_cast<std::size_t>(
      std::count_if(entries_.begin(), entries_.end(), [](const auto& entry) { return entry.second.asking; }));
}

void DnsCache::sweep(TimePoint now) {
  for (auto each = entries_.begin(); each != entries_.end();) {
    const Entry& entry = each->second;
    const bool old = !entry.asking && entry.waiters.empty() && now - entry.last_used > kForgetAfter;
    each = old ? entries_.erase(each) : std::next(each);
  }
}

}  // namespace pgvigil::pool
