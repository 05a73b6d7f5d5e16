// What turns a program into a service: its user, limits, the background, the pid file.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/error.h"
#include "pool/log.h"
#include "pool/running_config.h"

namespace pgvigil::pool {

// Root becomes this user, with its primary group alone. Empty: root is refused.
Result<void> become_user(const std::string& name);

// As many descriptors as we may have, and a line about whether they suffice. No core files: they would hold passwords.
void set_limits(const RunningConfig& config, PoolLog& log);

// Puts the process into the background. The process that was started stays until `up()` or the end of the background
// one, so that its exit status says whether the start succeeded.
class Background {
 public:
  Background() = default;
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;
  Result<void> enter();  // returns in the background process only
  void up();             // standard streams go to /dev/null

 private:
  int parent_ = -1;
};

class PidFile {
 public:
  explicit PidFile(std::string path) : path_(std::move(path)) {}
  PidFile(const PidFile&) = delete;
  PidFile& operator=(const PidFile&) = delete;
  ~PidFile() { remove(); }

  // Refuses when the process named in it lives, or nobody can say; removes what a crashed one left.
  Result<void> check() const;
  Result<void> write();
  Result<void> take_over();  // from the process that this one replaces
  void remove();             // if it is still ours

 private:
  std::string path_;  // empty: none
  bool ours_ = false;
};

}  // namespace pgvigil::pool
