// Secrets of SCRAM-SHA-256: PostgreSQL documentation of pg_authid, rolpassword; keys: RFC 5802 section 3.
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "pgwire/saslprep.h"
#include "pgwire/scram_keys.h"

namespace pgvigil::pgwire {

namespace {

constexpr std::string_view kMechanism = "SCRAM-SHA-256$";
constexpr std::uint32_t kIntMax = std::numeric_limits<std::int32_t>::max();  // PostgreSQL keeps iterations as int
constexpr std::size_t kSaltBytes = 16;       // what PostgreSQL makes (SCRAM_DEFAULT_SALT_LEN)
constexpr std::size_t kSaltBytesMax = 1024;  // it travels in a message that libpq before 16 reads up to 2000 bytes of

// What stands before `end`, which is taken too; nothing when `end` does not occur.
std::optional<std::string_view> take_until(std::string_view& text, char end) {
  const auto at = text.find(end);
  if (at == std::string_view::npos) return std::nullopt;
  const auto found = text.substr(0, at);
  text.remove_prefix(at + 1);
  return found;
}

std::optional<Key> decode_key(std::string_view text) {
  auto bytes = base64_decode(text);
  if (!bytes || bytes->size() != Key{}.size()) return std::nullopt;
  Key key{};
  std::copy(bytes->begin(), bytes->end(), key.begin());
  wipe(*bytes);
  return key;
}

}  // namespace

ScramSecret::~ScramSecret() {
  wipe(stored_key);
  wipe(server_key);
}

ScramKeys::~ScramKeys() {
  wipe(client_key);
  wipe(server_key);
}

void wipe(Key& key) { OPENSSL_cleanse(key.data(), key.size()); }
void wipe(std::string& text) { OPENSSL_cleanse(text.data(), text.size()); }

Key sha256(std::string_view data) {
  Key digest{};
  SHA256(reinterpret_cast<const unsigned char*>(data.data()), data.size(), digest.data());
  return digest;
}

Key hmac_sha256(std::string_view key, std::string_view data) {
  Key code{};
  unsigned size = 0;
  const auto* made = HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
                          reinterpret_cast<const unsigned char*>(data.data()), data.size(), code.data(), &size);
  PGV_ASSERT(made != nullptr && size == code.size());  // an all-zero key instead would be one that anybody knows
  return code;
}

Key exclusive_or(const Key& a, const Key& b) {
  Key result{};
  std::transform(a.begin(), a.end(), b.begin(), result.begin(),
                 [](unsigned char x, unsigned char y) { return static_cast<unsigned char>(x ^ y); });
  return result;
}

ScramKeys derive_keys(std::string_view password, std::string_view salt, std::uint32_t iterations) {
  PGV_ASSERT(iterations > 0 && iterations <= kIntMax);
  auto prepared = saslprep(password);
  Key salted{};
  const int done =
      PKCS5_PBKDF2_HMAC(prepared.data(), static_cast<int>(prepared.size()),
                        reinterpret_cast<const unsigned char*>(salt.data()), static_cast<int>(salt.size()),
                        static_cast<int>(iterations), EVP_sha256(), static_cast<int>(salted.size()), salted.data());
  wipe(prepared);
  PGV_ASSERT(done == 1);
  ScramKeys keys{hmac_sha256(view(salted), "Client Key"), hmac_sha256(view(salted), "Server Key")};
  wipe(salted);
  return keys;
}

std::optional<ScramSecret> parse_scram_secret(std::string_view stored) {
  if (!stored.starts_with(kMechanism)) return std::nullopt;
  stored.remove_prefix(kMechanism.size());
  const auto iterations = take_until(stored, ':');
  const auto salt = take_until(stored, '$');
  const auto stored_key = take_until(stored, ':');
  if (!iterations || !salt || !stored_key) return std::nullopt;

  ScramSecret secret;
  const auto* end = iterations->data() + iterations->size();
  const auto [rest, error] = std::from_chars(iterations->data(), end, secret.iterations);
  if (error != std::errc() || rest != end || secret.iterations == 0 || secret.iterations > kIntMax) {
    return std::nullopt;
  }
  const auto salt_bytes = base64_decode(*salt);
  const auto key = decode_key(*stored_key), server_key = decode_key(stored);
  if (!salt_bytes || salt_bytes->empty() || salt_bytes->size() > kSaltBytesMax || !key || !server_key) {
    return std::nullopt;
  }
  secret.salt = *salt_bytes;
  secret.stored_key = *key;
  secret.server_key = *server_key;
  return secret;
}

std::string scram_secret_text(const ScramSecret& secret) {
  return fmt::format("{}{}:{}${}:{}", kMechanism, secret.iterations, base64(secret.salt),
                     base64(view(secret.stored_key)), base64(view(secret.server_key)));
}

ScramSecret make_scram_secret(std::string_view password, std::string_view salt, std::uint32_t iterations) {
  const auto keys = derive_keys(password, salt, iterations);
  return {iterations, std::string(salt), sha256(view(keys.client_key)), keys.server_key};
}

ScramSecret mock_scram_secret(std::string_view user, std::string_view key, std::uint32_t iterations) {
  const auto derived = [&](std::string_view purpose) { return hmac_sha256(key, std::string(purpose).append(user)); };
  // To match, a client would need a ClientKey whose hash is this stored key.
  return {iterations, std::string(view(derived("salt:")).substr(0, kSaltBytes)), derived("stored key:"),
          derived("server key:")};
}

}  // namespace pgvigil::pgwire
