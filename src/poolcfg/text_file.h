// A configuration file as text. It may hold passwords, so the text is wiped when it is let go.
#pragma once

#include <string>

#include "base/error.h"
#include "base/secret.h"

namespace pgvigil::poolcfg {

// `what` is for the error: "the authentication file".
Result<Secret> read_text_file(const std::string& path, const std::string& what);

}  // namespace pgvigil::poolcfg
