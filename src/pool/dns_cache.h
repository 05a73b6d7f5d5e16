// What is known about host names: answers with their age, whose turn it is, and who waits. No I/O: the resolver asks.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/time.h"
#include "pool/resolver.h"

namespace pgvigil::pool {

class DnsCache {
 public:
  using Done = std::function<void(Result<std::vector<Address>>)>;
  struct Waiter {
    netio::Loop* loop = nullptr;
    Done done;
  };

  void configure(Duration success_kept, Duration failure_kept);

  // The answer when one is known and young enough; else nothing, and the waiter is kept until `answered` or `failed`.
  // `ask`: this waiter is the first, and the name has to be asked for.
  struct LookUp {
    bool known = false, ask = false;
    Result<std::vector<Address>> answer;
  };
  LookUp look_up(const std::string& name, Waiter waiter, TimePoint now);

  // A refresh: asked for although nobody waits. False: it is being asked for already.
  bool refresh(const std::string& name);

  struct Outcome {
    std::vector<std::pair<Waiter, Result<std::vector<Address>>>> waiters;  // each with its own turn's order
    bool lost_some = false;  // the last answer had addresses that this one lacks
  };
  Outcome answered(const std::string& name, std::vector<Address> addresses, TimePoint now);
  Outcome failed(const std::string& name, const Error& error, TimePoint now);

  [[nodiscard]] std::vector<Resolver::HostRow> rows(TimePoint now) const;
  // Names with a good answer, for zones.
  [[nodiscard]] std::vector<std::string> names() const;
  [[nodiscard]] std::size_t asking() const;
  // Forgets what nobody asked for in a long time. Called now and then.
  void sweep(TimePoint now);

 private:
  // Names come from the configuration, but automatic databases may bring many.
  static constexpr Duration kForgetAfter = std::chrono::hours(1);

  struct Entry {
    std::vector<Address> addresses;  // of the last good answer
    std::optional<Error> error;      // what waiters are told instead
    TimePoint valid_until, last_used;
    std::size_t turn = 0;
    bool asking = false;
    std::vector<Waiter> waiters;
  };
  static Result<std::vector<Address>> deliver(Entry& entry);
  static Outcome release(Entry& entry);

  std::map<std::string, Entry> entries_;
  Duration success_kept_{std::chrono::seconds(15)}, failure_kept_{std::chrono::seconds(15)};
};

}  // namespace pgvigil::pool
