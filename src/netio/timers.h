// Timers of one loop: a binary heap, cancelled entries stay in it until they come up or outnumber the live ones.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/time.h"

namespace pgvigil::netio {

class Timers {
 public:
  using Id = std::uint64_t;  // slot and the slot's generation, so that the id of a timer that ran names nothing

  Id add(TimePoint when, std::function<void()> call);
  void cancel(Id id);
  // The earliest, or TimePoint::max().
  [[nodiscard]] TimePoint next();
  // Runs what is due, except timers that these calls add: those wait for the next turn.
  void run(TimePoint now);

 private:
  struct Slot {
    std::function<void()> call;
    std::uint32_t generation = 1;
    bool live = false;
  };
  struct Entry {
    TimePoint when;
    std::uint64_t order;
    Id id;
  };
  static bool later(const Entry& a, const Entry& b) { return a.when != b.when ? a.when > b.when : a.order > b.order; }
  [[nodiscard]] bool live(Id id) const;
  void pop();
  void drop_dead();
  std::function<void()> take(Id id);

  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_;
  std::vector<Entry> heap_;
  std::uint64_t order_ = 0;
  std::size_t dead_ = 0;
};

}  // namespace pgvigil::netio
