// From the first byte of a client to its welcome: encryption, startup packet, authentication. Exists only that long.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "netio/stream.h"
#include "pgwire/messages.h"
#include "pgwire/password.h"
#include "pool/auth_lookup.h"
#include "pool/client.h"

namespace pgvigil::pool {

struct Pooler;

class ClientLogin {
 public:
  explicit ClientLogin(Client& client) : client_(client) {}
  ~ClientLogin();
  void received(const netio::Slice& bytes);
  void ended(int error);
  void tls_ready();
  void welcome();    // the pool knows what to tell a new client
  void abandon();    // the client is being closed
  void timed_out();  // client_login_timeout
  void replication_welcome(std::string_view untracked_parameters);
  void cancel_done();
  [[nodiscard]] std::string names() const;  // for the log: "db/user"

 private:
  enum class Phase : std::uint8_t {
    Startup,
    Handshake,
    Lookup,
    Password,
    Sasl,
    SaslProof,
    Checking,
    Welcome,
    Cancelling,
    Console
  };

  void step();
  void on_startup_bytes();
  void on_ssl_request();
  void on_startup(pgwire::Startup& startup);
  bool read_parameters(pgwire::Startup& startup);
  bool read_options(const std::string& text);
  void add_host_to_application_name();
  void find_user();
  void looked_up(Result<std::optional<AuthLookup::Row>> row);
  void choose_method();
  void begin_method(poolcfg::AuthType method, const std::string& options);
  void begin_md5();
  void begin_scram();
  void by_certificate();
  void by_peer();
  bool console_permitted();
  void on_password_message(std::string_view body);
  void check_password(std::string_view typed);
  void on_sasl_initial(std::string_view body);
  void on_sasl_proof(std::string_view body);
  void authenticated();
  void enter_pool();
  void start_replication(Pool& pool);
  void to_console();
  void send_welcome(const Welcome& welcome);
  void finish();
  void deny(std::string_view text);  // "login failed" in the log, then FATAL
  void send(const std::string& bytes);
  [[nodiscard]] bool is_console() const { return database_name_ == "pgbouncer"; }
  bool read_causal(const std::string& value);
  [[nodiscard]] bool on_read_port() const;
  [[nodiscard]] std::optional<poolcfg::ServerRole> read_role(const poolcfg::DatabaseEntry& entry) const;
  [[nodiscard]] const poolcfg::Settings& settings() const;
  [[nodiscard]] const RunningConfig& config() const;
  Pooler& pooler();

  Client& client_;
  Phase phase_ = Phase::Startup;
  std::string buffer_;
  std::string database_name_, user_name_, options_;
  std::vector<ParameterSet::Value> values_;  // tracked parameters of the startup packet
  std::shared_ptr<const poolcfg::DatabaseEntry> entry_;
  poolcfg::AuthType method_ = poolcfg::AuthType::Reject;
  std::string ident_map_, method_options_;
  std::optional<std::string> stored_;  // the password as stored; nothing: not known
  bool user_known_ = false;
  bool admin_ = false, same_uid_ = false;
  bool attempt_logged_ = false;
  std::string salt_;
  std::unique_ptr<pgwire::ScramServer> scram_;
  bool scram_passes_on_ = false;  // the secret is a stored one: its keys work on a server that has the same
  LoginSecrets proven_;
  std::unique_ptr<AuthLookup> lookup_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace pgvigil::pool
