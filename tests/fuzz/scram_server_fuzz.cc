// What a client sends: the first byte chooses SCRAM-SHA-256-PLUS and whether it was offered; a line end separates the
// first message from the final one. Nobody here knows the password, so a final message that is accepted is a finding.
#include "check.h"
#include "pgwire/password.h"

using namespace pgvigil::pgwire;

extern "C" int LLVMFuzzerTestOneInput(const char* data, std::size_t size) {
  if (size == 0) return 0;
  std::string_view input(data + 1, size - 1);
  const auto end = input.find('\n');
  const auto first = input.substr(0, end);
  const auto last = end == std::string_view::npos ? std::string_view() : input.substr(end + 1);
  static const auto kSecret = mock_scram_secret("ann", "key", 4096);
  ScramServer server(kSecret, (data[0] & 1) != 0 ? "binding" : "");
  const auto challenge = server.first(first, (data[0] & 2) != 0, "server-nonce");
  if (challenge) FUZZ_CHECK(challenge->starts_with("r=") && challenge->find(",r=") == std::string::npos);
  FUZZ_CHECK(!server.final(last));
  FUZZ_CHECK(server.proven().client_key == Key{});
  return 0;
}
