// auth_query: asks a server, as auth_user, for a user's stored password.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "pool/catalog.h"
#include "pool/server.h"
#include "pool/shard.h"

namespace pgvigil::pool {

class AuthLookup final : public Waiter, public ServerListener {
 public:
  struct Row {
    std::string user;
    std::optional<std::string> password;
  };
  // Nothing: there is no such user. An error: the look-up itself failed, which clients learn only in general terms.
  using Done = std::function<void(Result<std::optional<Row>>)>;

  AuthLookup(PoolShard& shard, std::string query, std::string user, Done done);
  ~AuthLookup();
  void begin();

  void on_server(Server& server) override;
  void on_refused(const Refusal& refusal) override;
  void on_server_lost(const Refusal& refusal, bool unsent) override;
  void on_welcome() override {}
  void on_long_wait() override {}
  void on_message(Server& server, char type, std::string_view body) override;

 private:
  void ask();
  void finish(Result<std::optional<Row>> result);
  PoolShard& shard_;
  std::string query_, user_;
  Done done_;
  Server* server_ = nullptr;
  std::optional<Row> row_;
  std::string error_;
};

}  // namespace pgvigil::pool
