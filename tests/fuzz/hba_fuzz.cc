// The HBA file: every line is a rule or a warning, and matching never fails.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "poolcfg/hba.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace pgvigil::poolcfg;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (text.find('@') != std::string_view::npos) return 0;  // other files are not this target's business
  const HbaFile file = parse_hba(text, "fuzz_hba.conf");
  HbaQuery query;
  for (const auto kind : {PeerAddress::Kind::Unix, PeerAddress::Kind::V4, PeerAddress::Kind::V6}) {
    for (const bool tls : {false, true}) {
      query.address.kind = kind;
      query.tls = tls;
      query.database = "db";
      query.user = "u";
      const HbaRule* rule = file.match(query);
      if (rule == nullptr) continue;
      PGV_ASSERT((rule->type == HbaRule::Type::Local) == (kind == PeerAddress::Kind::Unix));
      PGV_ASSERT(tls || rule->type != HbaRule::Type::HostSsl);
      PGV_ASSERT(rule->line > 0);
    }
  }
  return 0;
}
