#include "poolcfg/address.h"

#include <arpa/inet.h>

#include <algorithm>

namespace pgvigil::poolcfg {
namespace {

constexpr std::array<std::uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr int kMappedBits = 96;

}  // namespace

std::optional<PeerAddress> parse_address(const std::string& text) {
  PeerAddress address;
  if (text.find(':') != std::string::npos) {
    address.kind = PeerAddress::Kind::V6;
    if (::inet_pton(AF_INET6, text.c_str(), address.bytes.data()) != 1) return std::nullopt;
    return address;
  }
  address.kind = PeerAddress::Kind::V4;
  std::copy(kMapped.begin(), kMapped.end(), address.bytes.begin());
  if (::inet_pton(AF_INET, text.c_str(), address.bytes.data() + kMapped.size()) != 1) return std::nullopt;
  return address;
}

std::optional<PeerAddress> mask_of_bits(PeerAddress::Kind kind, int bits) {
  const int total = kind == PeerAddress::Kind::V4 ? bits + kMappedBits : bits;
  if (bits < 0 || total > 128) return std::nullopt;
  PeerAddress mask;
  mask.kind = kind;
  for (int bit = 0; bit < total; ++bit) mask.bytes[static_cast<std::size_t>(bit / 8)] |= 0x80U >> (bit % 8);
  return mask;
}

PeerAddress::Kind family(const PeerAddress& address) {
  const bool mapped = std::equal(kMapped.begin(), kMapped.end(), address.bytes.begin());
  return address.kind == PeerAddress::Kind::V6 && mapped ? PeerAddress::Kind::V4 : address.kind;
}

bool inside(const PeerAddress& address, const PeerAddress& network, const PeerAddress& mask) {
  if (family(address) != network.kind) return false;
  for (std::size_t i = 0; i < address.bytes.size(); ++i) {
    if (((address.bytes[i] ^ network.bytes[i]) & mask.bytes[i]) != 0) return false;
  }
  return true;
}

}  // namespace pgvigil::poolcfg
