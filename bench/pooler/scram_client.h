// The client's half of SCRAM-SHA-256, for the benchmark of logins. The salted password is kept for the salt, so that
// the client's own 4096 rounds of hashing do not hide the pooler's work.
#pragma once

#include <string>
#include <string_view>

namespace bench {

class ScramClient {
 public:
  // Body of SASLInitialResponse and of SASLResponse.
  std::string first();
  std::string final(std::string_view server_first, const std::string& password);

 private:
  std::string nonce_;
  std::string client_first_bare_;
};

}  // namespace bench
