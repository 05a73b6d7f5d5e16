// What a server connection still owes answers to, oldest first (PostgreSQL documentation, "Message Flow", pipelining).
#pragma once

#include <cstdint>
#include <deque>

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

using Requests = std::deque<Request>;

}  // namespace pgvigil::pool
