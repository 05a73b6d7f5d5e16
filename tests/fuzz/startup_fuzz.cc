// The first bytes of any connection.
#include "check.h"
#include "pgwire/messages.h"

using namespace pgvigil::pgwire;

extern "C" int LLVMFuzzerTestOneInput(const char* data, std::size_t size) {
  const std::string_view bytes(data, size);
  std::size_t consumed = 0;
  const auto packet = parse_startup(bytes, consumed);
  FUZZ_CHECK(consumed <= size && consumed <= kStartupBytesMax && consumed != 1);
  if (std::holds_alternative<NeedMore>(packet)) FUZZ_CHECK(consumed == 0);
  if (const auto* bad = std::get_if<BadPacket>(&packet)) FUZZ_CHECK(bad->hex.size() <= 16);
  const auto* startup = std::get_if<Startup>(&packet);
  if (startup == nullptr || startup->major != 3 || !startup->terminated) return 0;

  // What was read whole is read again from what we write of it.
  const auto again = startup_message(startup->parameters);
  std::size_t length = 0;
  const auto repeated = parse_startup(again, length);
  FUZZ_CHECK(length == consumed && std::get<Startup>(repeated).parameters == startup->parameters);
  // And no part of it is taken for the whole.
  FUZZ_CHECK(std::holds_alternative<NeedMore>(parse_startup(bytes.substr(0, consumed - 1), length)));
  return 0;
}
