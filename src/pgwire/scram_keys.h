// The arithmetic of SCRAM-SHA-256 (RFC 5802 section 3; RFC 7677), shared by secrets and exchanges.
#pragma once

#include <string>
#include <string_view>

#include "pgwire/password.h"

namespace pgvigil::pgwire {

inline std::string_view view(const Key& key) { return {reinterpret_cast<const char*>(key.data()), key.size()}; }

Key sha256(std::string_view data);
Key hmac_sha256(std::string_view key, std::string_view data);
Key exclusive_or(const Key& a, const Key& b);
// ClientKey and ServerKey of a password, which is prepared (saslprep) first.
ScramKeys derive_keys(std::string_view password, std::string_view salt, std::uint32_t iterations);
void wipe(Key& key);
void wipe(std::string& text);

}  // namespace pgvigil::pgwire
