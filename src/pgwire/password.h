// Password forms as PostgreSQL stores them (documentation of pg_authid, rolpassword) and the exchanges that prove them:
// MD5 (AuthenticationMD5Password) and SCRAM-SHA-256 (RFC 5802, RFC 7677). All comparisons take constant time.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/secret.h"

namespace pgvigil::pgwire {

enum class PasswordForm : std::uint8_t { Plain, Md5, Scram };
PasswordForm password_form(
    std::string_view stored);  // "md5" + 32 lower-case hex digits; "SCRAM-SHA-256$..." that parses

bool equal_constant_time(std::string_view a, std::string_view b);
std::string md5_hex(std::string_view data);
std::string md5_stored(std::string_view password, std::string_view user);      // "md5..."
std::string md5_response(std::string_view stored_md5, std::string_view salt);  // what a client sends: "md5..."
std::string random_bytes(std::size_t n);                                       // from the kernel
std::string base64(std::string_view data);
std::optional<std::string> base64_decode(std::string_view text);

using Key = std::array<unsigned char, 32>;

// A hostile server, or a user who stores a secret of his own making, chooses the iterations that we have to compute
// while other sessions of the worker wait: a million took 0.23 s of processor time with SHA instructions, 0.42 s
// without. PostgreSQL's default is 4096 and advice for PBKDF2 with SHA-256 goes to 600,000; PostgreSQL's limit of 2^31
// - 1 would be eight minutes or more.
inline constexpr std::uint32_t kScramIterationsMax = 1'000'000;

struct ScramSecret {
  ~ScramSecret();  // wipes the keys
  std::uint32_t iterations = 4096;
  std::string salt;  // raw bytes
  Key stored_key{}, server_key{};
};
std::optional<ScramSecret> parse_scram_secret(std::string_view stored);
std::string scram_secret_text(const ScramSecret& secret);
ScramSecret make_scram_secret(std::string_view password, std::string_view salt, std::uint32_t iterations);
// A secret that nobody's password matches, for users that do not exist: the salt depends on the name and the process's
// own `key` alone, so that asking twice shows no difference.
ScramSecret mock_scram_secret(std::string_view user, std::string_view key, std::uint32_t iterations);
// Does this cleartext password match what is stored, in whatever form? An empty stored password matches nothing.
bool password_matches(std::string_view stored, std::string_view user, std::string_view typed);

// Keys that a client has proven: they log in to a server whose secret has the same salt and iterations.
struct ScramKeys {
  ~ScramKeys();  // wipes the keys
  Key client_key{}, server_key{};
};

std::string scram_nonce();  // 18 random bytes as base64, like PostgreSQL's

// The pooler as server. One exchange: any refusal ends it, so that a nonce is good for one guess.
class ScramServer {
 public:
  // `channel_binding`: the bytes of tls-server-end-point when SCRAM-SHA-256-PLUS was offered, else empty.
  ScramServer(ScramSecret secret, std::string channel_binding);
  // client-first-message -> server-first-message. `plus`: the client chose SCRAM-SHA-256-PLUS. `own_nonce` is given by
  // tests alone.
  Result<std::string> first(std::string_view client_first, bool plus, std::string_view own_nonce = scram_nonce());
  // client-final-message -> server-final-message, or Unauthorized when the proof is wrong.
  Result<std::string> final(std::string_view client_final);
  // After final() succeeded.
  [[nodiscard]] const ScramKeys& proven() const { return proven_; }

 private:
  ScramSecret secret_;
  std::string channel_binding_, gs2_header_, client_first_bare_, server_first_, nonce_;
  bool plus_ = false;
  bool begun_ = false;
  ScramKeys proven_;
};

// The pooler as client of a server.
class ScramClient {
 public:
  ScramClient(Secret password,
              std::string channel_binding);  // a cleartext password (SASLprep applied as PostgreSQL does)
  ScramClient(const ScramKeys& keys, std::string channel_binding);
  std::string first(std::string nonce = scram_nonce());  // gs2 header, user name empty, nonce
  Result<std::string> final(std::string_view server_first);
  Result<void> verify(std::string_view server_final);  // the server's signature

 private:
  Result<ScramKeys> keys_for(std::string_view salt, std::uint32_t iterations) const;
  [[nodiscard]] std::string gs2_header() const;

  Secret password_;
  std::optional<ScramKeys> keys_;
  std::string channel_binding_, client_first_bare_, nonce_, auth_message_;
  ScramKeys used_;
};

}  // namespace pgvigil::pgwire
