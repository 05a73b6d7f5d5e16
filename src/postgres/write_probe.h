// Whether the disk of a directory takes writes: a block that is written and synced beside the loop, since a system call
// on a disk that hangs does not return, and cannot be given up.
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/error.h"

namespace pgvigil::postgres {

class WriteProbe {
 public:
  WriteProbe(Clock& clock, std::string directory);
  // One at a time. Timeout: not done at the deadline; the next call waits for the same write.
  Task<Result<void>> run(TimePoint deadline);

 private:
  struct State;
  Clock& clock_;
  std::string path_;
  std::shared_ptr<State> state_;
};

}  // namespace pgvigil::postgres
