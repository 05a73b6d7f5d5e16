// The startup parameter `options`.
#include "check.h"
#include "pgwire/messages.h"

using namespace pgvigil::pgwire;

namespace {

std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    result += '\\';
    result += c;
  }
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const char* data, std::size_t size) {
  const auto options = parse_options({data, size});
  if (!options) return 0;
  std::string again;
  for (const auto& [name, value] : *options) {
    FUZZ_CHECK(!name.empty() && name.find_first_of("=-") == std::string::npos);
    again.append("-c ").append(escaped(name)).append("=").append(escaped(value)).append(" ");
  }
  FUZZ_CHECK(parse_options(again) == options);
  return 0;
}
