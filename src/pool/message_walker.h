// Walks the messages in what one side of a connection sends, wherever the network cut it. Whole runs of messages that
// are only passed on stay one piece of the received buffer; nothing is gathered unless somebody has to read it whole.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "netio/buffer.h"
#include "pgwire/frame.h"

namespace pgvigil::pool {

// What is to be done with the message whose header was just seen.
struct Verdict {
  enum class Kind : std::uint8_t {
    Forward,  // pass it on as it comes
    Drop,     // pass nothing of it on
    Whole,    // call on_whole() once it is complete; nothing of it is passed on
    More,     // ask again when more of its body has come
    Tail,     // the sink has sent a replacement for the header and the first `skip` bytes of the body; pass on the rest
    Stop,     // leave it; ask again at the next walk
    Abort,    // the connection is being closed: touch nothing any more
  } kind = Kind::Forward;
  std::uint32_t skip = 0;
};

// Sink:
//   Verdict on_header(char type, std::uint32_t body, std::string_view begin)   `begin`: what is there of the body
//   bool on_whole(char type, std::string_view body)                              false: the connection is being closed
//   void forward(const netio::Slice&)    void forward(std::string_view)
//   void on_malformed(std::string_view header)
//   std::uint32_t message_bytes_max()
class MessageWalker {
 public:
  // Messages that must be read whole are bounded by the sink through message_bytes_max(), never by memory.
  // The result: how many bytes were consumed; less than all after Stop.
  template <class Sink>
  std::size_t walk(const netio::Slice& slice, Sink& sink) {
    Walk<Sink> walk{*this, slice, sink};
    return walk.run();
  }
  // A message has begun and is not complete.
  [[nodiscard]] bool inside_message() const { return left_ > 0 || stash_size_ > 0 || assembled_ != nullptr; }
  // Part of a message was passed on, and the rest has to follow.
  [[nodiscard]] bool forwarding() const { return left_ > 0 && mode_ == Mode::Forward; }
  // After Stop: the length of the body of the message that was left, all of which is still to come.
  [[nodiscard]] std::optional<std::size_t> waiting_body() const {
    if (stash_size_ != pgwire::kHeaderBytes) return std::nullopt;
    return pgwire::load32(stash_ + 1) - 4;
  }
  // What runs of forwarded bytes came before the message under consideration is sent before what the sink inserts.
  // Only inside on_header() and on_whole().
  void flush() {
    if (flush_ != nullptr) flush_(walk_);
  }

 private:
  enum class Mode : std::uint8_t { Forward, Drop, Whole };

  template <class Sink>
  struct Walk {
    MessageWalker& w;
    const netio::Slice& slice;
    Sink& sink;
    std::size_t at = 0;     // next byte to look at
    std::size_t begun = 0;  // begin of the run of bytes that are passed on as they are

    void flush_to(std::size_t end) {
      if (end > begun) {
        const std::size_t from = begun;
        begun = end;
        sink.forward(slice.part(from, end - from));
      }
    }
    static void flush_thunk(void* self) {
      auto& walk = *static_cast<Walk*>(self);
      walk.flush_to(walk.header_at);
    }
    std::size_t header_at = 0;  // where the message under consideration begins in the slice (or the slice's begin)

    std::size_t run() {
      w.walk_ = this;
      w.flush_ = &Walk::flush_thunk;
      const std::size_t consumed = loop();
      return consumed;
    }

    std::size_t loop() {
      for (;;) {
        if (w.left_ > 0) {
          if (at == slice.size) break;
          if (!body()) return slice.size;
          continue;
        }
        if (w.assembled_ == nullptr && w.stash_size_ == 0 && at == slice.size) break;
        if (!header()) return done_;
      }
      header_at = slice.size;
      flush_to(slice.size);
      w.flush_ = nullptr;
      return slice.size;
    }
    std::size_t done_ = 0;

    // Part of the body of a message that was decided on. False: the connection is being closed.
    bool body() {
      const std::size_t n = std::min<std::size_t>(w.left_, slice.size - at);
      if (w.mode_ != Mode::Forward) {
        flush_to(at);
        begun = at + n;
        if (w.mode_ == Mode::Whole) w.assembled_->append(slice.data + at, n);
      }
      at += n;
      w.left_ -= static_cast<std::uint32_t>(n);
      header_at = at;
      if (w.left_ == 0 && w.mode_ == Mode::Whole) {
        const std::unique_ptr<std::string> whole = std::move(w.assembled_);
        w.mode_ = Mode::Forward;
        return sink.on_whole((*whole)[0], std::string_view(*whole).substr(pgwire::kHeaderBytes));
      }
      return true;
    }

    // The header of the next message, from the slice or put together from several. False: stop walking.
    bool header() {
      const bool assembled = w.assembled_ != nullptr;  // Verdict::More was given before
      const char* head = nullptr;
      bool in_slice = false;
      if (assembled) {
        header_at = at;
        return assembled_more();
      }
      if (w.stash_size_ == 0 && slice.size - at >= pgwire::kHeaderBytes) {
        head = slice.data + at;
        in_slice = true;
        header_at = at;
      } else {
        header_at = at;
        flush_to(at);
        const std::size_t n = std::min(pgwire::kHeaderBytes - w.stash_size_, slice.size - at);
        std::memcpy(w.stash_ + w.stash_size_, slice.data + at, n);
        w.stash_size_ = static_cast<std::uint8_t>(w.stash_size_ + n);
        at += n;
        begun = at;
        if (w.stash_size_ < pgwire::kHeaderBytes) {
          w.flush_ = nullptr;
          done_ = slice.size;
          return false;
        }
        head = w.stash_;
      }
      const std::uint32_t length = pgwire::load32(head + 1);
      if (length < 4 || length - 4 > sink.message_bytes_max()) {
        sink.on_malformed({head, pgwire::kHeaderBytes});
        done_ = slice.size;
        return false;
      }
      const std::uint32_t body_bytes = length - 4;
      const std::size_t body_at = in_slice ? at + pgwire::kHeaderBytes : at;
      const std::size_t present = std::min<std::size_t>(body_bytes, slice.size - body_at);
      const Verdict verdict = sink.on_header(head[0], body_bytes, {slice.data + body_at, present});
      return act(verdict, head, in_slice, body_at, body_bytes, present);
    }

    bool act(Verdict verdict, const char* head, bool in_slice, std::size_t body_at, std::uint32_t body_bytes,
             std::size_t present) {
      using Kind = Verdict::Kind;
      const std::size_t message_at = in_slice ? at : body_at;
      switch (verdict.kind) {
        case Kind::Abort: done_ = slice.size; return false;
        case Kind::Stop:
          flush_to(message_at);
          if (in_slice) {
            std::memcpy(w.stash_, head, pgwire::kHeaderBytes);
            w.stash_size_ = pgwire::kHeaderBytes;
          }
          w.flush_ = nullptr;
          done_ = body_at;
          return false;
        case Kind::Forward:
          if (!in_slice) sink.forward(std::string_view(w.stash_, pgwire::kHeaderBytes));
          w.mode_ = Mode::Forward;
          break;
        case Kind::Drop:
          flush_to(message_at);
          begun = body_at;
          w.mode_ = Mode::Drop;
          break;
        case Kind::Tail:
          PGV_ASSERT(verdict.skip <= present);
          flush_to(message_at);
          begun = body_at + verdict.skip;
          at = begun;
          w.left_ = body_bytes - verdict.skip;
          w.stash_size_ = 0;
          w.mode_ = Mode::Forward;
          return true;
        case Kind::Whole:
          flush_to(message_at);
          if (present == body_bytes) {
            const char type = head[0];
            at = begun = body_at + present;
            header_at = at;
            w.stash_size_ = 0;
            if (sink.on_whole(type, {slice.data + body_at, present})) return true;
            done_ = slice.size;
            return false;
          }
          w.assembled_ = std::make_unique<std::string>(head, pgwire::kHeaderBytes);
          begun = body_at;
          w.mode_ = Mode::Whole;
          break;
        case Kind::More:
          PGV_ASSERT(present < body_bytes);
          flush_to(message_at);
          w.assembled_ = std::make_unique<std::string>(head, pgwire::kHeaderBytes);
          w.assembled_->append(slice.data + body_at, present);
          w.stash_size_ = 0;
          at = begun = slice.size;
          w.flush_ = nullptr;
          done_ = slice.size;
          return false;
      }
      at = body_at;
      w.left_ = body_bytes;
      w.stash_size_ = 0;
      return true;
    }

    // Verdict::More was given: what has come since is added, and the sink is asked again.
    bool assembled_more() {
      std::string& message = *w.assembled_;
      const std::uint32_t body_bytes = pgwire::load32(message.data() + 1) - 4;
      const std::size_t have = message.size() - pgwire::kHeaderBytes;
      const std::size_t n = std::min<std::size_t>(body_bytes - have, slice.size - at);
      flush_to(at);
      message.append(slice.data + at, n);
      at += n;
      begun = header_at = at;
      const std::string_view body = std::string_view(message).substr(pgwire::kHeaderBytes);
      const Verdict verdict = sink.on_header(message[0], body_bytes, body);
      using Kind = Verdict::Kind;
      if (verdict.kind == Kind::Abort) {
        done_ = slice.size;
        return false;
      }
      if (verdict.kind == Kind::Stop || verdict.kind == Kind::More) {
        w.flush_ = nullptr;
        done_ = at;
        return false;
      }
      const std::unique_ptr<std::string> kept = std::move(w.assembled_);
      const std::string_view all = *kept;
      w.left_ = static_cast<std::uint32_t>(body_bytes - body.size());
      switch (verdict.kind) {
        case Kind::Forward:
          sink.forward(all);
          w.mode_ = Mode::Forward;
          return true;
        case Kind::Tail:
          sink.forward(all.substr(pgwire::kHeaderBytes + verdict.skip));
          w.mode_ = Mode::Forward;
          return true;
        case Kind::Drop: w.mode_ = Mode::Drop; return true;
        default: break;
      }
      if (w.left_ > 0) {  // Whole
        w.assembled_ = std::make_unique<std::string>(all);
        w.mode_ = Mode::Whole;
        return true;
      }
      if (sink.on_whole(all[0], all.substr(pgwire::kHeaderBytes))) return true;
      done_ = slice.size;
      return false;
    }
  };

  std::unique_ptr<std::string> assembled_;  // header and body so far, in mode Whole or after More
  std::uint32_t left_ = 0;                  // of the body of a message that was decided on
  Mode mode_ = Mode::Forward;
  std::uint8_t stash_size_ = 0;
  char stash_[pgwire::kHeaderBytes] = {};  // a header that the network cut, or that waits for a decision
  void* walk_ = nullptr;
  void (*flush_)(void*) = nullptr;
};

}  // namespace pgvigil::pool
