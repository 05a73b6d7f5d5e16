// What a console command answers with.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "pool/console_table.h"

namespace pgvigil::pool {

struct ConsoleError {
  std::string message;
  std::string sqlstate = "08P01";
};

struct ConsoleReply {
  struct Notice {
    std::string message, detail;
  };
  std::optional<ConsoleError> error;  // then nothing else is sent
  std::vector<Notice> notices;
  const Columns* columns = nullptr;  // null: no result set
  Rows rows;
  std::string tag;
  std::function<void()> after;  // once the reply is on its way
  bool silent = false;          // no reply: the process ends

  static ConsoleReply done(std::string tag) {
    ConsoleReply reply;
    reply.tag = std::move(tag);
    return reply;
  }
  static ConsoleReply failed(std::string message, std::string sqlstate = "08P01") {
    ConsoleReply reply;
    reply.error = ConsoleError{std::move(message), std::move(sqlstate)};
    return reply;
  }
};
using ReplyTo = std::function<void(ConsoleReply)>;

}  // namespace pgvigil::pool
