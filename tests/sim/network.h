// Who reaches whom, in each direction, and how long that takes. Places 0..n-1 are the machines, the last one is etcd.
#pragma once

#include <algorithm>
#include <vector>

#include "world.h"

namespace pgvigil::sim {

class Network {
 public:
  Network(World& world, std::size_t machines)
      : world_(world), places_(machines + 1), cuts_(places_ * places_, 0), changed_(cuts_.size()) {}

  [[nodiscard]] std::size_t etcd() const { return places_ - 1; }
  [[nodiscard]] bool reaches(std::size_t from, std::size_t to) const { return cuts_[from * places_ + to] == 0; }
  [[nodiscard]] bool connected(std::size_t a, std::size_t b) const { return reaches(a, b) && reaches(b, a); }
  void cut(std::size_t from, std::size_t to) {
    ++cuts_[from * places_ + to];
    if (from != etcd() && to != etcd()) parted_ = true;
    changed_[from * places_ + to] = world_.now();
  }
  void mend(std::size_t from, std::size_t to) {
    auto& count = cuts_[from * places_ + to];
    if (count > 0) --count;
    changed_[from * places_ + to] = world_.now();
  }
  void mend_all() {
    for (std::size_t i = 0; i < cuts_.size(); ++i) {
      if (cuts_[i] > 0) changed_[i] = world_.now();
      cuts_[i] = 0;
    }
  }
  // Connected, and so for at least this long.
  [[nodiscard]] bool calm(std::size_t a, std::size_t b, Duration length) const {
    const TimePoint last = std::max(changed_[a * places_ + b], changed_[b * places_ + a]);
    return connected(a, b) && world_.now() - last > length;
  }
  // Whether two machines ever lost each other.
  [[nodiscard]] bool parted() const { return parted_; }
  [[nodiscard]] Duration latency() { return world_.between(100us, 2ms); }

 private:
  World& world_;
  std::size_t places_;
  std::vector<int> cuts_;
  std::vector<TimePoint> changed_;
  bool parted_ = false;
};

}  // namespace pgvigil::sim
