// What a server connection still owes answers to, oldest first (PostgreSQL documentation, "Message Flow", pipelining).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <utility>

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

// In pieces, not in one block that doubles: a client that pipelines without reading makes it long.
class Requests {
 public:
  [[nodiscard]] bool empty() const { return all_.empty(); }
  [[nodiscard]] std::size_t size() const { return all_.size(); }
  [[nodiscard]] Request& front() { return all_.front(); }
  [[nodiscard]] const Request& operator[](std::size_t i) const { return all_[i]; }
  [[nodiscard]] auto begin() const { return all_.begin(); }
  [[nodiscard]] auto end() const { return all_.end(); }
  void push_back(Request request) { all_.push_back(std::move(request)); }
  void pop_front() { all_.pop_front(); }
  void erase(std::size_t from, std::size_t end) {
    all_.erase(begin() + static_cast<std::ptrdiff_t>(from), begin() + static_cast<std::ptrdiff_t>(end));
  }
  void clear() { all_.clear(); }

 private:
  std::deque<Request> all_;
};

}  // namespace pgvigil::pool
