// A certificate authority for the local deployment, and the certificates that it issues. OpenSSL in this process: no
// key ever passes through a command line.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"

namespace pgvigil::app {

// Makes DIR/ca.crt and DIR/ca.key, valid for ten years, unless they are there.
Result<void> ensure_authority(const std::string& directory);
// Makes DIR/<name>.crt and DIR/<name>.key for server and client use, unless they are there. `hosts`: names and
// addresses.
Result<void> ensure_certificate(const std::string& directory, const std::string& name,
                                const std::vector<std::string>& hosts);

}  // namespace pgvigil::app
