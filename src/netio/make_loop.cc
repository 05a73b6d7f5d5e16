#include "netio/epoll_loop.h"
#include "netio/uring_loop.h"

namespace pgvigil::netio {

Result<std::unique_ptr<Loop>> make_loop(const LoopOptions& options) {
  if (options.backend == Backend::Epoll) return make_epoll_loop("epoll");
  auto uring = make_uring_loop();
  if (uring) return uring;
  if (options.backend == Backend::Uring) {
    return fail(Errc::Unavailable, "io_uring cannot be used here", {}, uring.error().message(),
                "permit it (sysctl kernel.io_uring_disabled, seccomp filters) or choose epoll");
  }
  return make_epoll_loop("epoll (io_uring: " + uring.error().message() + ")");
}

}  // namespace pgvigil::netio
