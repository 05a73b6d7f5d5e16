// A connected socket inside a loop, with or without TLS.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "netio/buffer.h"
#include "netio/tls.h"

namespace pgvigil::netio {

// Calls come from the loop, never from inside a method of Stream. A handler may close its stream in any of them.
class StreamHandler {
 public:
  virtual void on_received(Slice bytes) = 0;
  // The peer ended the stream (0) or it broke (an errno value; EPROTO: TLS, the text is in tls_error()). Told once;
  // nothing is received after it. The stream is still to be closed by its owner.
  virtual void on_end(int error) = 0;
  // unsent() fell to kLowWater or below after it had been above kHighWater.
  virtual void on_room() = 0;
  // The handshake that start_tls() began is complete. A failed one ends the stream with EPROTO.
  virtual void on_tls() = 0;

 protected:
  ~StreamHandler() = default;
};

inline constexpr std::size_t kHighWater = std::size_t{128} << 10;  // above this the faster side is paused
inline constexpr std::size_t kLowWater = std::size_t{32} << 10;

// A stream between two loops: no operation of the old loop refers to it any more.
class DetachedState;
using Detached = std::shared_ptr<DetachedState>;

class Stream {
 public:
  [[nodiscard]] virtual int fd() const = 0;
  virtual void set_handler(StreamHandler& handler) = 0;

  // Bytes leave in order, gathered into as few system calls as possible, after the handler that sent them has returned.
  virtual void send(std::string_view bytes) = 0;  // copies
  virtual void send(const Slice& slice) = 0;      // keeps a reference; copies what is small or has no owner
  [[nodiscard]] virtual std::size_t unsent() const = 0;

  // Between pause and resume at most what the kernel had already handed over arrives; it is kept and delivered, in
  // order, after resume (from the loop, not from inside resume).
  virtual void pause() = 0;
  virtual void resume() = 0;
  [[nodiscard]] virtual bool paused() const = 0;

  // As server: answers a handshake whose first bytes may have been received already. As client: begins one.
  // `host`: the name to verify and to send as SNI, where the context asks for that.
  virtual void start_tls(TlsContextPtr context, std::string_view received, const std::string& host) = 0;
  [[nodiscard]] virtual const TlsInfo* tls() const = 0;  // null without TLS or before on_tls()
  [[nodiscard]] virtual std::string tls_error() const = 0;

  // Stops receiving and, once nothing of this loop refers to the stream, calls back on the loop's thread with what
  // another loop can adopt. Bytes already sent by send() go out first. Not while a TLS handshake is under way. The
  // Stream itself is dead once the callback has returned: its owner lets go of the StreamPtr, by release() at the call
  // of detach() or by reset() inside the callback. Closing before that takes the request back, the callback is then
  // never made.
  virtual void detach(std::function<void(Detached)> done) = 0;

 protected:
  friend struct StreamCloser;
  virtual ~Stream() = default;
  // Gives the socket up: no handler is called any more. Bytes already sent by send() still go out, within a bound of
  // `kLingerSeconds`, as long as the peer takes them; then the descriptor is closed and the memory freed by the loop.
  virtual void close() = 0;
};

inline constexpr int kLingerSeconds = 5;

struct StreamCloser {
  void operator()(Stream* stream) const { stream->close(); }
};
using StreamPtr = std::unique_ptr<Stream, StreamCloser>;

}  // namespace pgvigil::netio
