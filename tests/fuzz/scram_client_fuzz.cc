// What a server sends: its first message, a line end, its final message.
#include "check.h"
#include "pgwire/password.h"

using namespace pgvigil::pgwire;

extern "C" int LLVMFuzzerTestOneInput(const char* data, std::size_t size) {
  const std::string_view input(data, size);
  const auto end = input.find('\n');
  const auto first = input.substr(0, end);
  const auto last = end == std::string_view::npos ? std::string_view() : input.substr(end + 1);

  ScramClient client(ScramKeys{}, size % 2 == 0 ? "" : "binding");
  client.first("nonce");
  const auto proof = client.final(first);
  if (proof) FUZZ_CHECK(proof->starts_with("c=") && proof->find(",r=nonce") != std::string::npos);
  // Without the keys of the secret nobody signs; the zero keys used here are known, but an HMAC is not guessed.
  if (!proof) FUZZ_CHECK(!client.verify(last));
  if (const auto verified = client.verify(last); !verified) {
    FUZZ_CHECK(verified.error().message().find_first_of("\n\r") == std::string::npos);
  }
  return 0;
}
