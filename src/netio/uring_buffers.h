// The receive buffers that the kernel picks from (a provided buffer ring), shared by all streams of a loop.
#pragma once

#include <liburing.h>

#include <memory>
#include <vector>

#include "netio/buffer.h"

namespace pgvigil::netio {

class UringBuffers final : public BufferPool {
 public:
  UringBuffers() = default;
  UringBuffers(const UringBuffers&) = delete;
  UringBuffers& operator=(const UringBuffers&) = delete;
  ~UringBuffers() override;

  static constexpr unsigned short kGroup = 1;
  // Places in the ring, and so the most buffers there can be: 64 MB. Pages that never held bytes take no memory.
  static constexpr unsigned kPlaces = 4096;
  static constexpr unsigned kStep = 128;

  // Registers the ring with its first buffers; the errno value negated, or 0.
  int begin(io_uring& ring);
  // The buffer of a completion. Adds buffers when the kernel is running out of them.
  BufferRef taken(std::uint32_t flags);
  // Every buffer is in use that there may be, or nearly so: what can be copied should be.
  [[nodiscard]] bool scarce() const { return with_kernel_ < kPlaces / 8 && buffers_.size() == kPlaces; }
  [[nodiscard]] bool none_left() const { return with_kernel_ == 0; }
  bool grow();

 private:
  struct FreeMemory {
    void operator()(char* memory) const { ::operator delete[](memory, std::align_val_t(4096)); }
  };
  using Slab = std::unique_ptr<char[], FreeMemory>;

  void take_back(Buffer& buffer) override;
  void give_to_kernel(Buffer& buffer);

  io_uring_buf_ring* ring_ = nullptr;
  std::vector<Slab> slabs_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  unsigned with_kernel_ = 0;
};

}  // namespace pgvigil::netio
