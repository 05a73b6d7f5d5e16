#include "netio/epoll_loop.h"

namespace pgvigil::netio {

Result<std::unique_ptr<Loop>> make_loop(const LoopOptions&) { return make_epoll_loop("epoll"); }

}  // namespace pgvigil::netio
