#include "netio/timers.h"

#include <algorithm>
#include <utility>

namespace pgvigil::netio {

bool Timers::live(Id id) const {
  const auto slot = static_cast<std::uint32_t>(id);
  return slot < slots_.size() && slots_[slot].live && slots_[slot].generation == id >> 32;
}

Timers::Id Timers::add(TimePoint when, std::function<void()> call) {
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const std::uint32_t index = free_.back();
  free_.pop_back();
  Slot& slot = slots_[index];
  slot.call = std::move(call);
  slot.live = true;
  const Id id = std::uint64_t{slot.generation} << 32 | index;
  heap_.push_back({when, order_++, id});
  std::push_heap(heap_.begin(), heap_.end(), later);
  return id;
}

std::function<void()> Timers::take(Id id) {
  const auto index = static_cast<std::uint32_t>(id);
  Slot& slot = slots_[index];
  slot.live = false;
  ++slot.generation;
  free_.push_back(index);
  return std::exchange(slot.call, nullptr);
}

void Timers::cancel(Id id) {
  if (!live(id)) return;
  take(id);
  if (++dead_ > heap_.size() / 2 && heap_.size() > 64) drop_dead();
}

void Timers::drop_dead() {
  std::erase_if(heap_, [this](const Entry& entry) { return !live(entry.id); });
  std::make_heap(heap_.begin(), heap_.end(), later);
  dead_ = 0;
}

void Timers::pop() {
  std::pop_heap(heap_.begin(), heap_.end(), later);
  heap_.pop_back();
}

TimePoint Timers::next() {
  while (!heap_.empty() && !live(heap_.front().id)) {
    pop();
    if (dead_ > 0) --dead_;
  }
  return heap_.empty() ? TimePoint::max() : heap_.front().when;
}

void Timers::run(TimePoint now) {
  const std::uint64_t limit = order_;
  while (next() <= now && heap_.front().order < limit) {
    const Id id = heap_.front().id;
    pop();
    const auto call = take(id);
    call();
  }
}

}  // namespace pgvigil::netio
