// A loop's memory: receive buffers outside the kernel's ring, right-sized blocks for what has to wait, and the blocks
// that send queues are made of. Everything is recycled, last used first, so that a busy loop stays in the cache.
#pragma once

#include <vector>

#include "netio/buffer.h"

namespace pgvigil::netio {

class HeapPool final : public BufferPool {
 public:
  HeapPool() = default;
  HeapPool(const HeapPool&) = delete;
  HeapPool& operator=(const HeapPool&) = delete;
  ~HeapPool() override;

  BufferRef take();                          // kBufferBytes
  BufferRef take_exactly(std::size_t size);  // goes back to the allocator, not to the free list

 private:
  void take_back(Buffer& buffer) override;
  Buffer* allocate(std::size_t size, std::uint32_t index);
  static void release(Buffer* buffer);
  std::vector<Buffer*> free_;
};

// What a send queue is made of: descriptions of pieces, and room into which small messages are copied side by side.
struct SendBlock {
  struct Piece {
    BufferRef owner;  // empty: the bytes are in some block's room
    const char* data = nullptr;
    std::size_t size = 0;
  };
  static constexpr std::size_t kBytes = 2048;
  static constexpr std::uint16_t kPieces = 12;
  static constexpr std::size_t kRoom = kBytes - kPieces * sizeof(Piece) - 48;

  SendBlock* next = nullptr;
  BufferRef fill;  // a buffer that larger ownerless bytes are copied into, not yet full
  std::uint32_t fill_used = 0;
  std::uint16_t first = 0;  // pieces before it are sent
  std::uint16_t count = 0;
  std::uint32_t room_used = 0;
  Piece pieces[kPieces];
  char room[kRoom];
};
static_assert(sizeof(SendBlock) <= SendBlock::kBytes);

class Memory {
 public:
  Memory() = default;
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory();

  HeapPool buffers;
  bool scarce = false;  // receive buffers run out: bytes that wait are copied out of them, whatever their size
  SendBlock* take_block();
  void give_block(SendBlock* block);

 private:
  std::vector<SendBlock*> free_;
};

}  // namespace pgvigil::netio
