// Preparation of passwords for SCRAM: RFC 4013 (SASLprep), as far as it goes without normalisation.
#pragma once

#include <string>
#include <string_view>

namespace pgvigil::pgwire {

// ASCII is returned unchanged. So is what SASLprep refuses (broken UTF-8, prohibited characters, nothing left): it is
// then used as raw bytes, as PostgreSQL and libpq do (documentation of SCRAM-SHA-256 authentication, "SASL
// Authentication": "the password is processed with SASLprep"; their code falls back when that fails).
std::string saslprep(std::string_view password);

}  // namespace pgvigil::pgwire
