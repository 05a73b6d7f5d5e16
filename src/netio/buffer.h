// Blocks of memory that received bytes arrive in and that wait there, without being copied, until they were sent on.
// A pool and its buffers belong to one loop and its thread: reference counts are plain integers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace pgvigil::netio {

// Large enough that a 1 MB result costs few system calls, small enough that a burst of 1,000 of them fits into memory.
inline constexpr std::uint32_t kBufferBytes = 16384;

class BufferPool;

class Buffer {
 public:
  [[nodiscard]] char* data() { return data_; }
  [[nodiscard]] std::uint32_t index() const { return index_; }

 private:
  friend class BufferPool;
  friend class BufferRef;
  Buffer(BufferPool& pool, char* data, std::uint32_t index) : pool_(pool), data_(data), index_(index) {}
  BufferPool& pool_;
  char* data_;
  std::uint32_t index_;  // in the pool; the io_uring backend's buffer id
  std::uint32_t references_ = 0;
};

class BufferRef {
 public:
  BufferRef() = default;
  explicit BufferRef(Buffer& buffer) : buffer_(&buffer) { ++buffer.references_; }
  BufferRef(const BufferRef& other) : buffer_(other.buffer_) {
    if (buffer_ != nullptr) ++buffer_->references_;
  }
  BufferRef(BufferRef&& other) noexcept : buffer_(std::exchange(other.buffer_, nullptr)) {}
  BufferRef& operator=(BufferRef other) noexcept {
    std::swap(buffer_, other.buffer_);
    return *this;
  }
  ~BufferRef() {
    if (buffer_ != nullptr && --buffer_->references_ == 0) give_back();
  }
  [[nodiscard]] Buffer* get() const { return buffer_; }
  [[nodiscard]] bool unique() const { return buffer_ != nullptr && buffer_->references_ == 1; }

 private:
  void give_back();
  Buffer* buffer_ = nullptr;
};

// Part of a buffer that is kept alive, or (owner empty) bytes that live as long as the call that hands them over.
struct Slice {
  BufferRef owner;
  const char* data = nullptr;
  std::size_t size = 0;

  [[nodiscard]] std::string_view text() const { return {data, size}; }
  [[nodiscard]] Slice part(std::size_t offset, std::size_t length) const {
    PGV_ASSERT(offset + length <= size);
    return {owner, data + offset, length};
  }
};

// What happens to a buffer whose last reference is gone: the loop's backend takes it back (to the kernel's ring, or to
// the free list).
class BufferPool {
 public:
  virtual ~BufferPool() = default;

 protected:
  Buffer make(char* data, std::uint32_t index) { return Buffer(*this, data, index); }

 private:
  friend class BufferRef;
  virtual void take_back(Buffer& buffer) = 0;
};

inline void BufferRef::give_back() { buffer_->pool_.take_back(*buffer_); }

}  // namespace pgvigil::netio
