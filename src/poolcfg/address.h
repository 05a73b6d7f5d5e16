// Addresses and masks of HBA lines.
#pragma once

#include <optional>
#include <string>

#include "poolcfg/hba.h"

namespace pgvigil::poolcfg {

std::optional<PeerAddress> parse_address(const std::string& text);
// Of the given kind; nothing: more bits than an address has.
std::optional<PeerAddress> mask_of_bits(PeerAddress::Kind kind, int bits);
// ::ffff:a.b.c.d, which a socket for both versions reports, is version 4.
PeerAddress::Kind family(const PeerAddress& address);
bool inside(const PeerAddress& address, const PeerAddress& network, const PeerAddress& mask);

}  // namespace pgvigil::poolcfg
