// The tcp_* settings on a socket.
#pragma once

#include "poolcfg/settings.h"

namespace pgvigil::pool {

// TCP_NODELAY always, keepalive, user timeout and buffer sizes as configured. Linux hands these on from a listening
// socket to the ones accepted from it, so an accepted socket costs no system call for them. Returns the name of the
// option that the kernel refused, or null.
const char* tune_tcp(int fd, const poolcfg::Settings& settings);

// Of a listening socket: wake up only when the client has sent its first bytes.
void defer_accept(int fd, bool on);

}  // namespace pgvigil::pool
