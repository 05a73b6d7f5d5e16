// The agent's end of the guard: finds the running one or starts one.
#pragma once

#include <string>

#include "guard/link.h"
#include "guard/wire.h"

namespace pgvigil::guard {

class UnixGuardLink final : public GuardLink {
 public:
  struct Options {
    std::string program;    // pgvigil-guard
    std::string socket;     // in a directory that only we may enter
    std::string data_dir;   // whose processes are killed
    int idle_seconds = 60;  // the guard ends by itself after this long without an agent, disarmed
  };

  explicit UnixGuardLink(Options options) : options_(std::move(options)) {}
  ~UnixGuardLink() override;  // the guard goes on
  UnixGuardLink(const UnixGuardLink&) = delete;
  UnixGuardLink& operator=(const UnixGuardLink&) = delete;

  Result<void> arm(TimePoint deadline, std::int64_t postmaster_pid) override;
  Result<void> disarm() override;
  Result<GuardStatus> status() override;

 private:
  Result<Reply> ask(const Request& request, bool start);
  Result<void> connect(bool start);
  Result<void> spawn();
  void drop();
  void know_peer();
  bool end_guard();

  Options options_;
  int socket_ = -1;
  int child_ = 0;
  int guard_pidfd_ = -1;  // of the guard that last took a connection
};

}  // namespace pgvigil::guard
