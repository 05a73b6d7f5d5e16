#include "scram_client.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <array>
#include <cstdlib>
#include <map>
#include <mutex>

#include "wire.h"

namespace bench {
namespace {

std::string base64(std::string_view data) {
  std::string out(4 * ((data.size() + 2) / 3) + 1, '\0');
  const int length =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), reinterpret_cast<const unsigned char*>(data.data()),
                      static_cast<int>(data.size()));
  out.resize(static_cast<size_t>(length));
  return out;
}

std::string unbase64(std::string_view text) {
  std::string out(3 * text.size() / 4 + 1, '\0');
  const int length =
      EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()), reinterpret_cast<const unsigned char*>(text.data()),
                      static_cast<int>(text.size()));
  size_t padding = 0;
  while (padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  out.resize(length < 0 ? 0 : static_cast<size_t>(length) - padding);
  return out;
}

std::string hmac(std::string_view key, std::string_view data) {
  std::string out(32, '\0');
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(data.data()),
       data.size(), reinterpret_cast<unsigned char*>(out.data()), nullptr);
  return out;
}

std::string sha256(std::string_view data) {
  std::string out(32, '\0');
  EVP_Digest(data.data(), data.size(), reinterpret_cast<unsigned char*>(out.data()), nullptr, EVP_sha256(), nullptr);
  return out;
}

const std::string& salted(const std::string& password, const std::string& salt, int iterations) {
  static std::mutex mutex;
  static std::map<std::string, std::string> known;
  const std::lock_guard lock(mutex);
  auto& entry = known[salt + '/' + std::to_string(iterations) + '/' + password];
  if (entry.empty()) {
    entry.resize(32);
    PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()),
                      reinterpret_cast<const unsigned char*>(salt.data()), static_cast<int>(salt.size()), iterations,
                      EVP_sha256(), 32, reinterpret_cast<unsigned char*>(entry.data()));
  }
  return entry;
}

std::string attribute(std::string_view text, char name) {
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    if (text[at] == name) return std::string(text.substr(at + 2, end - at - 2));
    at = end + 1;
  }
  return {};
}

}  // namespace

std::string ScramClient::first() {
  std::array<unsigned char, 18> random{};
  RAND_bytes(random.data(), random.size());
  nonce_ = base64({reinterpret_cast<const char*>(random.data()), random.size()});
  client_first_bare_ = "n=,r=" + nonce_;
  const std::string response = "n,," + client_first_bare_;
  std::string body = with_zero("SCRAM-SHA-256");
  put_int32(body, static_cast<uint32_t>(response.size()));
  return body + response;
}

std::string ScramClient::final(std::string_view server_first, const std::string& password) {
  const std::string salt = unbase64(attribute(server_first, 's'));
  const std::string& key = salted(password, salt, std::atoi(attribute(server_first, 'i').c_str()));
  const std::string without_proof = "c=biws,r=" + attribute(server_first, 'r');
  const std::string client_key = hmac(key, "Client Key");
  const std::string signature =
      hmac(sha256(client_key), client_first_bare_ + "," + std::string(server_first) + "," + without_proof);
  std::string proof(32, '\0');
  for (size_t i = 0; i < proof.size(); ++i) proof[i] = static_cast<char>(client_key[i] ^ signature[i]);
  return without_proof + ",p=" + base64(proof);
}

}  // namespace bench
