// Stored passwords: lines of a file or answers of a query. Also base64, which they contain, and SASLprep.
#include "check.h"
#include "pgwire/password.h"
#include "pgwire/saslprep.h"

using namespace pgvigil::pgwire;

extern "C" int LLVMFuzzerTestOneInput(const char* data, std::size_t size) {
  const std::string_view text(data, size);
  const auto form = password_form(text);
  const auto secret = parse_scram_secret(text);
  FUZZ_CHECK((form == PasswordForm::Scram) == secret.has_value());
  if (secret) {
    FUZZ_CHECK(!secret->salt.empty() && secret->iterations > 0);
    const auto written = scram_secret_text(*secret);
    const auto again = parse_scram_secret(written);
    FUZZ_CHECK(again && scram_secret_text(*again) == written);
  }
  if (const auto decoded = base64_decode(text)) FUZZ_CHECK(base64(*decoded) == text);
  FUZZ_CHECK(base64_decode(base64(text)) == text);
  FUZZ_CHECK(saslprep(text).size() <= size);
  FUZZ_CHECK(size == 0 || !saslprep(text).empty());
  return 0;
}
