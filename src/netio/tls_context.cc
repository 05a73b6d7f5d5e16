#include "netio/tls.h"

namespace pgvigil::netio {

class TlsContext {};

Result<TlsContextPtr> make_tls_context(const TlsSettings&) {
  return fail(Errc::Failed, "TLS is not supported by this build");
}

bool certificate_names(const TlsInfo&, const std::string&) { return false; }

}  // namespace pgvigil::netio
