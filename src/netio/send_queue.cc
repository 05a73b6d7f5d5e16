#include "netio/send_queue.h"

#include <algorithm>
#include <cstring>

namespace pgvigil::netio {

SendBlock& SendQueue::add_block(Memory& memory) {
  SendBlock* block = memory.take_block();
  if (tail_ == nullptr) {
    head_ = block;
  } else {
    tail_->next = block;
  }
  tail_ = block;
  return *block;
}

// The last block, with place for one more piece.
SendBlock& SendQueue::block_with_piece(Memory& memory) {
  if (tail_ == nullptr || tail_->count == SendBlock::kPieces) return add_block(memory);
  return *tail_;
}

void SendQueue::copy(Memory& memory, std::string_view bytes) {
  if (bytes.empty()) return;
  if (bytes.size() > SendBlock::kRoom) return copy_large(memory, bytes);
  SendBlock* block = tail_;
  if (block == nullptr || SendBlock::kRoom - block->room_used < bytes.size()) block = &add_block(memory);
  char* to = block->room + block->room_used;
  SendBlock::Piece* last = block->count > block->first ? &block->pieces[block->count - 1] : nullptr;
  if (last != nullptr && last->data + last->size == to) {
    last->size += bytes.size();
  } else {
    if (block->count == SendBlock::kPieces) {
      block = &add_block(memory);
      to = block->room;
    }
    SendBlock::Piece& piece = block->pieces[block->count++];
    piece.data = to;
    piece.size = bytes.size();
  }
  std::memcpy(to, bytes.data(), bytes.size());
  block->room_used += static_cast<std::uint32_t>(bytes.size());
  bytes_ += bytes.size();
}

void SendQueue::copy_large(Memory& memory, std::string_view bytes) {
  while (!bytes.empty()) {
    SendBlock& block = block_with_piece(memory);
    if (block.fill.get() == nullptr || block.fill_used == kBufferBytes) {
      block.fill = memory.buffers.take();
      block.fill_used = 0;
    }
    const auto part = std::min<std::size_t>(bytes.size(), kBufferBytes - block.fill_used);
    char* to = block.fill.get()->data() + block.fill_used;
    std::memcpy(to, bytes.data(), part);
    block.fill_used += static_cast<std::uint32_t>(part);
    SendBlock::Piece& piece = block.pieces[block.count++];
    piece.owner = block.fill;
    piece.data = to;
    piece.size = part;
    bytes_ += part;
    bytes.remove_prefix(part);
  }
}

void SendQueue::append(Memory& memory, const Slice& slice) {
  if (slice.owner.get() == nullptr || slice.size <= kCopyBelow || memory.scarce) {
    return copy(memory, slice.text());
  }
  SendBlock& block = block_with_piece(memory);
  SendBlock::Piece& piece = block.pieces[block.count++];
  piece.owner = slice.owner;
  piece.data = slice.data;
  piece.size = slice.size;
  bytes_ += slice.size;
}

int SendQueue::gather(iovec* pieces, int max) const {
  int count = 0;
  for (const SendBlock* block = head_; block != nullptr; block = block->next) {
    for (std::uint16_t i = block->first; i < block->count; ++i) {
      if (count == max) return count;
      pieces[count++] = {const_cast<char*>(block->pieces[i].data), block->pieces[i].size};
    }
  }
  return count;
}

std::string_view SendQueue::front() const {
  for (const SendBlock* block = head_; block != nullptr; block = block->next) {
    if (block->first < block->count) return {block->pieces[block->first].data, block->pieces[block->first].size};
  }
  return {};
}

std::size_t SendQueue::copy_front(char* to, std::size_t max) const {
  std::size_t done = 0;
  for (const SendBlock* block = head_; block != nullptr && done < max; block = block->next) {
    for (std::uint16_t i = block->first; i < block->count && done < max; ++i) {
      const std::size_t part = std::min(block->pieces[i].size, max - done);
      std::memcpy(to + done, block->pieces[i].data, part);
      done += part;
    }
  }
  return done;
}

void SendQueue::consume(Memory& memory, std::size_t size) {
  PGV_ASSERT(size <= bytes_);
  bytes_ -= size;
  if (bytes_ == 0) return clear(memory);
  while (size > 0) {
    SendBlock* block = head_;
    if (block->first == block->count) {
      head_ = block->next;
      memory.give_block(block);
      continue;
    }
    SendBlock::Piece& piece = block->pieces[block->first];
    const std::size_t part = std::min(size, piece.size);
    piece.data += part;
    piece.size -= part;
    size -= part;
    if (piece.size == 0) {
      piece.owner = {};
      ++block->first;
    }
  }
}

void SendQueue::clear(Memory& memory) {
  bytes_ = 0;
  tail_ = nullptr;
  while (head_ != nullptr) {
    SendBlock* block = head_;
    head_ = block->next;
    memory.give_block(block);
  }
}

}  // namespace pgvigil::netio
