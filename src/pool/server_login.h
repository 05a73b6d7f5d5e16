// Opening a server connection: address, TLS, authentication, the parameters it reports, connect_query.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "netio/stream.h"
#include "pgwire/password.h"
#include "pool/dial.h"
#include "pool/message_walker.h"
#include "pool/server.h"

namespace pgvigil::pool {

// Its server lets go of it when the login has ended; the memory goes at the end of the turn.
class ServerLogin {
 public:
  // `client`: of a replication connection, else null.
  ServerLogin(Server& server, Client* client);
  void begin();
  void received(const netio::Slice& bytes);
  void ended(int error, const std::string& tls_error);
  void tls_ready();

 private:
  enum class Phase : std::uint8_t { Dialing, SslAnswer, Handshake, Login, RoleQuery, ConnectQuery };
  friend struct LoginSink;

  void choose_host();
  bool choose_member();
  void dial();
  bool check_role();
  void connected(int fd);
  void send_startup();
  bool on_message(char type, std::string_view body);
  bool on_authentication(std::string_view body);
  bool sasl_begin(std::string_view mechanisms);
  void send_password(std::string_view text);
  void on_error(std::string_view body);
  bool on_ready();
  void complete();
  void fail_with(const std::string& reason, const std::optional<Refusal>& refusal = std::nullopt);

  Server& server_;
  Worker& worker_;
  Client* client_;
  std::shared_ptr<const poolcfg::DatabaseEntry> entry_;
  std::unique_ptr<Dial> dial_;
  MessageWalker walker_;
  Phase phase_ = Phase::Dialing;
  std::string host_;
  int port_ = 0;
  bool by_member_socket_ = false;    // the Unix socket of a member on this machine
  std::optional<bool> in_recovery_;  // what the server says of itself
  std::optional<std::string> password_;
  std::optional<pgwire::ScramKeys> keys_;
  std::unique_ptr<pgwire::ScramClient> scram_;
  bool scram_verified_ = false;
  ParameterSetPtr parameters_;
  std::string untracked_;  // ParameterStatus messages
  std::string cancel_key_;
};

}  // namespace pgvigil::pool
