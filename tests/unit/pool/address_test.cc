#include "pool/address.h"

#include <gtest/gtest.h>
#include <sys/un.h>

#include <cstddef>

namespace pgvigil::pool {
namespace {

TEST(AddressTest, Literals) {
  EXPECT_EQ(literal_address("10.0.0.1", 5432)->text(), "10.0.0.1:5432");
  EXPECT_EQ(literal_address("::1", 5432)->text(), "[::1]:5432");
  EXPECT_FALSE(literal_address("localhost", 5432));
  EXPECT_FALSE(literal_address("10.0.0", 5432));
}

TEST(AddressTest, UnixSockets) {
  const Address plain = unix_address("/tmp", 6432);
  EXPECT_TRUE(plain.unix_socket());
  EXPECT_EQ(plain.text(), "unix:6432");
  EXPECT_EQ(plain.ip(), "unix");
  EXPECT_EQ(plain.port(), 0);
  // libpq's form: the zero byte, then the rest of the path, and nothing behind it.
  const Address abstract = unix_address("@pool", 6432);
  const auto& name = reinterpret_cast<const sockaddr_un&>(abstract.storage);
  EXPECT_EQ(name.sun_path[0], '\0');
  EXPECT_EQ(std::string(name.sun_path + 1, abstract.size - offsetof(sockaddr_un, sun_path) - 1), "pool/.s.PGSQL.6432");
  EXPECT_EQ(abstract.text(), "unix:6432");
  EXPECT_NO_FATAL_FAILURE(unix_address(std::string(500, 'x'), 1));
}

TEST(AddressTest, ForHba) {
  EXPECT_EQ(ip_text(hba_address(*literal_address("10.1.2.3", 1))), "10.1.2.3");
  EXPECT_EQ(ip_text(hba_address(*literal_address("fe80::1", 1))), "fe80::1");
  EXPECT_EQ(ip_text(hba_address(unix_address("/tmp", 1))), "unix");
  const auto mapped = hba_address(*literal_address("::ffff:10.1.2.3", 1));
  EXPECT_EQ(mapped.kind, poolcfg::PeerAddress::Kind::V4);
  EXPECT_EQ(ip_text(mapped), "10.1.2.3");
}

}  // namespace
}  // namespace pgvigil::pool
