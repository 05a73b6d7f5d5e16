#include "netio/memory.h"

#include <new>

namespace pgvigil::netio {

namespace {

// What a burst leaves behind for the next one; the rest goes back to the allocator.
constexpr std::size_t kFreeBuffersMax = 256;
constexpr std::size_t kFreeBlocksMax = 512;

constexpr std::uint32_t kPooled = 0;
constexpr std::uint32_t kExact = 1;

// The header stands in front of the bytes, a cache line of its own.
constexpr std::size_t kHeaderBytes = 64;
static_assert(sizeof(Buffer) <= kHeaderBytes);

}  // namespace

HeapPool::~HeapPool() {
  for (Buffer* buffer : free_) release(buffer);
}

Buffer* HeapPool::allocate(std::size_t size, std::uint32_t index) {
  char* memory = static_cast<char*>(::operator new(kHeaderBytes + size));
  return new (memory) Buffer(make(memory + kHeaderBytes, index));
}

void HeapPool::release(Buffer* buffer) {
  buffer->~Buffer();
  ::operator delete(static_cast<void*>(buffer));
}

BufferRef HeapPool::take() {
  if (free_.empty()) return BufferRef(*allocate(kBufferBytes, kPooled));
  Buffer* buffer = free_.back();
  free_.pop_back();
  return BufferRef(*buffer);
}

BufferRef HeapPool::take_exactly(std::size_t size) { return BufferRef(*allocate(size, kExact)); }

void HeapPool::take_back(Buffer& buffer) {
  if (buffer.index() == kPooled && free_.size() < kFreeBuffersMax) {
    free_.push_back(&buffer);
  } else {
    release(&buffer);
  }
}

Memory::~Memory() {
  for (SendBlock* block : free_) delete block;
}

SendBlock* Memory::take_block() {
  if (free_.empty()) return new SendBlock;
  SendBlock* block = free_.back();
  free_.pop_back();
  return block;
}

void Memory::give_block(SendBlock* block) {
  for (std::uint16_t i = block->first; i < block->count; ++i) block->pieces[i].owner = {};
  block->fill = {};
  if (free_.size() >= kFreeBlocksMax) {
    delete block;
    return;
  }
  block->next = nullptr;
  block->fill_used = 0;
  block->first = 0;
  block->count = 0;
  block->room_used = 0;
  free_.push_back(block);
}

}  // namespace pgvigil::netio
