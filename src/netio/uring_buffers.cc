#include "netio/uring_buffers.h"

#include <sys/mman.h>

#include <cerrno>
#include <new>

namespace pgvigil::netio {

namespace {

constexpr std::size_t kRingBytes = UringBuffers::kPlaces * sizeof(io_uring_buf);

// Small messages touch only the beginning of a buffer. With a power of two as the distance all beginnings would compete
// for the same few sets of the processor's caches.
constexpr std::size_t kDistance = kBufferBytes + 192;

constexpr unsigned kGrowBelow = 16;

}  // namespace

UringBuffers::~UringBuffers() {
  if (ring_ != nullptr) ::munmap(ring_, kRingBytes);
}

int UringBuffers::begin(io_uring& ring) {
  void* memory = ::mmap(nullptr, kRingBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return -errno;
  ring_ = static_cast<io_uring_buf_ring*>(memory);
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<std::uint64_t>(ring_);
  registration.ring_entries = kPlaces;
  registration.bgid = kGroup;
  const int result = io_uring_register_buf_ring(&ring, &registration, 0);
  if (result != 0) return result;
  io_uring_buf_ring_init(ring_);
  grow();
  return 0;
}

bool UringBuffers::grow() {
  if (buffers_.size() + kStep > kPlaces) return false;
  Slab slab(static_cast<char*>(::operator new[](kStep* kDistance, std::align_val_t(4096))));
  for (unsigned i = 0; i < kStep; ++i) {
    const auto index = static_cast<std::uint32_t>(buffers_.size());
    buffers_.push_back(std::make_unique<Buffer>(make(slab.get() + i * kDistance, index)));
    give_to_kernel(*buffers_.back());
  }
  slabs_.push_back(std::move(slab));
  return true;
}

void UringBuffers::give_to_kernel(Buffer& buffer) {
  io_uring_buf_ring_add(ring_, buffer.data(), kBufferBytes, static_cast<unsigned short>(buffer.index()),
                        io_uring_buf_ring_mask(kPlaces), 0);
  io_uring_buf_ring_advance(ring_, 1);
  ++with_kernel_;
}

BufferRef UringBuffers::taken(std::uint32_t flags) {
  const std::uint32_t index = flags >> IORING_CQE_BUFFER_SHIFT;
  PGV_ASSERT(index < buffers_.size() && with_kernel_ > 0);
  BufferRef buffer(*buffers_[index]);
  if (--with_kernel_ < kGrowBelow) grow();
  return buffer;
}

void UringBuffers::take_back(Buffer& buffer) { give_to_kernel(buffer); }

}  // namespace pgvigil::netio
