// What a server connection still owes answers to, oldest first (PostgreSQL documentation, "Message Flow", pipelining).
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "pool/statements.h"

namespace pgvigil::pool {

enum class Answer : std::uint8_t {
  Forward,  // the client sent the request and gets the reply
  Skip,     // the pooler sent it and drops the reply
  Fake,     // nothing was sent; the reply is made up when its turn comes
};

struct Request {
  char type;  // of the client's message: Q F S P B D E C, and c f inside COPY
  Answer answer = Answer::Forward;
  StatementPtr statement;  // Parse, Close of a tracked one: what changes in the server's map when it is confirmed
};

// A queue whose memory stays: in the usual case it is filled and emptied once for each transaction.
class Requests {
 public:
  [[nodiscard]] bool empty() const { return first_ == all_.size(); }
  [[nodiscard]] std::size_t size() const { return all_.size() - first_; }
  [[nodiscard]] Request& front() { return all_[first_]; }
  [[nodiscard]] const Request& operator[](std::size_t i) const { return all_[first_ + i]; }
  [[nodiscard]] auto begin() const { return all_.begin() + static_cast<std::ptrdiff_t>(first_); }
  [[nodiscard]] auto end() const { return all_.end(); }
  void push_back(Request request) { all_.push_back(std::move(request)); }
  void pop_front() {
    all_[first_++].statement = nullptr;
    if (empty()) {
      clear();
    } else if (first_ >= kCompactAt && first_ * 2 >= all_.size()) {
      all_.erase(all_.begin(), begin());
      first_ = 0;
    }
  }
  void erase(std::size_t from, std::size_t end) {
    all_.erase(begin() + static_cast<std::ptrdiff_t>(from), begin() + static_cast<std::ptrdiff_t>(end));
    if (empty()) clear();
  }
  void clear() {
    first_ = 0;
    all_.clear();
    if (all_.capacity() > kKeep) all_.shrink_to_fit();
  }

 private:
  static constexpr std::size_t kCompactAt = 64;
  static constexpr std::size_t kKeep = 1024;  // a longer pipeline gives its memory back
  std::vector<Request> all_;
  std::size_t first_ = 0;  // those before it were answered
};

}  // namespace pgvigil::pool
