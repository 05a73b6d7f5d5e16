// Bytes on their way out, in order. An empty queue holds no memory.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <string_view>

#include "netio/memory.h"

namespace pgvigil::netio {

class SendQueue {
 public:
  SendQueue() = default;
  SendQueue(const SendQueue&) = delete;
  SendQueue& operator=(const SendQueue&) = delete;
  ~SendQueue() { PGV_ASSERT(head_ == nullptr); }

  // Up to here bytes are copied behind each other even if they have an owner: one short copy costs less than one more
  // element in the kernel's list, and the receive buffer is free again at once.
  static constexpr std::size_t kCopyBelow = 1024;

  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  [[nodiscard]] bool empty() const { return bytes_ == 0; }

  void copy(Memory& memory, std::string_view bytes);
  void append(Memory& memory, const Slice& slice);  // refers to what is large and has an owner

  // The next pieces, at most `max`; the queue keeps them until consume().
  int gather(iovec* pieces, int max) const;
  [[nodiscard]] std::string_view front() const;
  [[nodiscard]] bool one_piece() const { return head_ == tail_ && head_->first + 1 == head_->count; }
  std::size_t copy_front(char* to, std::size_t max) const;
  void consume(Memory& memory, std::size_t size);
  void clear(Memory& memory);

 private:
  SendBlock& block_with_piece(Memory& memory);
  SendBlock& add_block(Memory& memory);
  void copy_large(Memory& memory, std::string_view bytes);

  SendBlock* head_ = nullptr;
  SendBlock* tail_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace pgvigil::netio
