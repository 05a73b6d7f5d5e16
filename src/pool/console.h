// The admin console: the virtual database `pgbouncer`, on the control thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "netio/stream.h"
#include "pool/client.h"
#include "pool/control.h"
#include "pool/session_parameters.h"

namespace pgvigil::pool {

// A client that logged in to the console, on its way from its worker to the control thread. Nothing was sent to it
// since AuthenticationOk was due: the console sends the whole welcome (AuthenticationOk, parameters, key,
// ReadyForQuery).
struct ConsoleStart {
  netio::Detached stream;
  std::string user;
  bool admin = false;     // else: SHOW only
  bool same_uid = false;  // over the Unix socket as the pooler's own user: may have the sockets of SHOW FDS
  ClientAddress address;
  std::uint64_t id = 0;
  std::uint64_t cancel_key = 0;
  ParameterSetPtr parameters;  // the client's tracked ones
  std::string received;        // behind the login
  TimePoint connected_at;
};

class ConsoleSessions {
 public:
  virtual ~ConsoleSessions() = default;
  virtual void start(ConsoleStart start) = 0;  // on the control thread
  // A CancelRequest for a console session: undoes a global PAUSE or SUSPEND. False: there is no such session.
  virtual bool cancel(std::uint64_t key) = 0;
  [[nodiscard]] virtual std::size_t count() const = 0;
};
std::unique_ptr<ConsoleSessions> make_console(Control& control);

}  // namespace pgvigil::pool
