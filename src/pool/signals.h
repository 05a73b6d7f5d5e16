// Signals as events of the control loop.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "base/error.h"
#include "netio/loop.h"

namespace pgvigil::pool {

class SignalSource {
 public:
  // Blocks the pooler's signals in this thread and in all that it starts later.
  static Result<std::unique_ptr<SignalSource>> make();
  ~SignalSource();
  SignalSource(const SignalSource&) = delete;
  SignalSource& operator=(const SignalSource&) = delete;

  void start(netio::Loop& loop, std::function<void(int number)> call);
  void stop();

 private:
  explicit SignalSource(int fd) : fd_(fd) {}
  int fd_;
  netio::Loop* loop_ = nullptr;
  std::optional<netio::Loop::WatchId> watch_;
};

}  // namespace pgvigil::pool
