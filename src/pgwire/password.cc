#include "pgwire/password.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>

#include "pgwire/scram_keys.h"

namespace pgvigil::pgwire {

namespace {

constexpr std::string_view kMd5Prefix = "md5";
constexpr std::size_t kMd5HexBytes = 32;

bool lower_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

}  // namespace

PasswordForm password_form(std::string_view stored) {
  if (stored.size() == kMd5Prefix.size() + kMd5HexBytes && stored.starts_with(kMd5Prefix) &&
      std::all_of(stored.begin() + kMd5Prefix.size(), stored.end(), lower_hex)) {
    return PasswordForm::Md5;
  }
  return parse_scram_secret(stored) ? PasswordForm::Scram : PasswordForm::Plain;
}

bool equal_constant_time(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string md5_hex(std::string_view data) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  std::string text;
  // Where a FIPS provider refuses MD5 the text stays empty, and an "md5" without digits matches nothing.
  if (EVP_Digest(data.data(), data.size(), digest.data(), &size, EVP_md5(), nullptr) != 1) return text;
  for (unsigned i = 0; i < size; ++i) {
    text += kDigits[digest[i] >> 4];
    text += kDigits[digest[i] & 15];
  }
  return text;
}

std::string md5_stored(std::string_view password, std::string_view user) {
  std::string both;
  both.reserve(password.size() + user.size());
  both.append(password).append(user);
  auto stored = std::string(kMd5Prefix) + md5_hex(both);
  wipe(both);
  return stored;
}

std::string md5_response(std::string_view stored_md5, std::string_view salt) {
  std::string salted(stored_md5.substr(std::min(stored_md5.size(), kMd5Prefix.size())));
  salted += salt;
  return std::string(kMd5Prefix) + md5_hex(salted);
}

std::string random_bytes(std::size_t n) {
  std::string bytes(n, '\0');
  for (std::size_t have = 0; have < n;) {
    const auto got = getrandom(bytes.data() + have, n - have, 0);
    PGV_ASSERT(got > 0 || errno == EINTR);  // a pooler that cannot make keys may not go on with guessable ones
    if (got > 0) have += static_cast<std::size_t>(got);
  }
  return bytes;
}

bool password_matches(std::string_view stored, std::string_view user, std::string_view typed) {
  if (stored.empty() || typed.empty()) return false;
  switch (password_form(stored)) {
    case PasswordForm::Plain: return equal_constant_time(stored, typed);
    case PasswordForm::Md5: return equal_constant_time(stored, md5_stored(typed, user));
    case PasswordForm::Scram: break;
  }
  const auto secret = parse_scram_secret(stored);
  // A user may store any secret (ALTER ROLE ... PASSWORD 'SCRAM-SHA-256$2147483647:...'); see kScramIterationsMax.
  if (!secret || secret->iterations > kScramIterationsMax) return false;
  const auto tried = make_scram_secret(typed, secret->salt, secret->iterations);
  return equal_constant_time(view(tried.stored_key), view(secret->stored_key));
}

}  // namespace pgvigil::pgwire
