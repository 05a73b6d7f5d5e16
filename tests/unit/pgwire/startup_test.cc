#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pgwire/messages.h"

namespace pgvigil::pgwire {
namespace {

using namespace std::string_literals;
using testing::ElementsAre;
using testing::Pair;

struct Parsed {
  StartupPacket packet;
  std::size_t consumed = 0;
  template <class T>
  [[nodiscard]] const T* as() const {
    return std::get_if<T>(&packet);
  }
};

Parsed parsed(std::string_view bytes) {
  Parsed result;
  result.consumed = 99;
  result.packet = parse_startup(bytes, result.consumed);
  return result;
}

std::string packet(std::uint32_t code, std::string_view body, std::int64_t length = -1) {
  std::string bytes(8, '\0');
  store32(bytes.data(), length < 0 ? static_cast<std::uint32_t>(8 + body.size()) : static_cast<std::uint32_t>(length));
  store32(bytes.data() + 4, code);
  return bytes.append(body);
}

constexpr std::uint32_t kVersion3 = 196608;

TEST(Startup, ReadsParametersInOrder) {
  const auto bytes = packet(kVersion3, "user\0Ann\0DateStyle\0\0user\0bob\0\0"s);
  const auto result = parsed(bytes + "next");
  ASSERT_TRUE(result.as<Startup>());
  const auto& startup = *result.as<Startup>();
  EXPECT_EQ(startup.major, 3);
  EXPECT_EQ(startup.minor, 0);
  EXPECT_TRUE(startup.terminated);
  EXPECT_THAT(startup.parameters, ElementsAre(Pair("user", "Ann"), Pair("DateStyle", ""), Pair("user", "bob")));
  EXPECT_EQ(result.consumed, bytes.size());
}

TEST(Startup, ReadsWhatItWrites) {
  const auto result = parsed(startup_message({{"user", "Ann"}, {"", "never sent"}, {"a\0b"s, "1\0002"s}}));
  ASSERT_TRUE(result.as<Startup>());
  EXPECT_THAT(result.as<Startup>()->parameters, ElementsAre(Pair("user", "Ann"), Pair("a", "1")));
  EXPECT_TRUE(result.as<Startup>()->terminated);
  EXPECT_EQ(startup_message({{"user", "u"}}), "\0\0\0\x10\0\3\0\0user\0u\0\0"s);
  EXPECT_EQ(startup_message({}), "\0\0\0\x09\0\3\0\0\0"s);
}

TEST(Startup, EveryPartOfAPacketNeedsMore) {
  for (const auto& bytes : {startup_message({{"user", "Ann"}, {"database", "shop"}}), ssl_request(),
                            packet(80877104, ""), cancel_request("12345678")}) {
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      const auto result = parsed(std::string_view(bytes).substr(0, size));
      EXPECT_TRUE(result.as<NeedMore>()) << size;
      EXPECT_EQ(result.consumed, 0U);
    }
    EXPECT_FALSE(parsed(bytes).as<NeedMore>());
    EXPECT_EQ(parsed(bytes).consumed, bytes.size());
    EXPECT_EQ(parsed(bytes + "behind").consumed, bytes.size());
  }
}

TEST(Startup, EveryCutOfTheParametersIsALayoutError) {
  const auto body = "user\0Ann\0database\0shop\0\0"s;
  for (std::size_t size = 0; size < body.size(); ++size) {
    const auto result = parsed(packet(kVersion3, body.substr(0, size)));
    ASSERT_TRUE(result.as<Startup>()) << size;
    EXPECT_FALSE(result.as<Startup>()->terminated) << size;
    EXPECT_LE(result.as<Startup>()->parameters.size(), 2U);
  }
  EXPECT_FALSE(parsed(packet(kVersion3, body + "x")).as<Startup>()->terminated);
  EXPECT_FALSE(parsed(packet(kVersion3, body + '\0')).as<Startup>()->terminated);
  EXPECT_TRUE(parsed(packet(kVersion3, "\0"s)).as<Startup>()->terminated);
}

TEST(Startup, RequestsAreExactlyThemselves) {
  EXPECT_EQ(ssl_request(), "\0\0\0\x08\x04\xD2\x16\x2F"s);
  EXPECT_TRUE(parsed(ssl_request()).as<SslRequest>());
  EXPECT_TRUE(parsed("\0\0\0\x08\x04\xD2\x16\x30"s).as<GssRequest>());
  EXPECT_TRUE(parsed(packet(80877103, "x")).as<BadPacket>());
  EXPECT_TRUE(parsed(packet(80877104, "x")).as<BadPacket>());
}

TEST(Startup, CancelKeysOfEitherProtocol) {
  EXPECT_EQ(cancel_request("\1\2\3\4\5\6\7\0"s), "\0\0\0\x10\x04\xD2\x16\x2E\1\2\3\4\5\6\7\0"s);
  for (const std::size_t size : {0, 4, 8, 12, 260}) {  // of what length it may be is the caller's to say
    const auto result = parsed(cancel_request(std::string(size, 'k')));
    ASSERT_TRUE(result.as<CancelRequest>()) << size;
    EXPECT_EQ(result.as<CancelRequest>()->key, std::string(size, 'k'));
  }
  EXPECT_TRUE(parsed(cancel_request(std::string(261, 'k'))).as<BadPacket>());
}

TEST(Startup, Versions) {
  const auto two = parsed(packet(2U << 16 | 7, "", 296));
  ASSERT_TRUE(two.as<Startup>());
  EXPECT_EQ(two.as<Startup>()->major, 2);
  EXPECT_EQ(two.as<Startup>()->minor, 0);
  const auto minor = parsed(packet(kVersion3 + 2, "user\0u\0\0"s));
  ASSERT_TRUE(minor.as<Startup>());
  EXPECT_EQ(minor.as<Startup>()->minor, 2);
  EXPECT_EQ(parsed(packet(kVersion3 + 65535, "\0"s)).as<Startup>()->minor, 65535);
  for (const std::uint32_t code : {0U, 1U << 16, 4U << 16, 1234U << 16 | 5677, 1234U << 16 | 5681, 0xFFFFFFFFU}) {
    EXPECT_TRUE(parsed(packet(code, "\0"s)).as<BadPacket>()) << code;
  }
}

TEST(Startup, LengthsOutOfBoundsAreRefusedAtOnce) {
  for (const std::int64_t length : {0LL, 7LL, 65536LL, 0x7FFFFFFFLL, 0xFFFFFFFFLL}) {
    const auto bytes = packet(kVersion3, "", length);
    EXPECT_TRUE(parsed(bytes).as<BadPacket>()) << length;
    EXPECT_TRUE(parsed(std::string_view(bytes).substr(0, 4)).as<BadPacket>()) << length;
  }
  EXPECT_TRUE(parsed(packet(kVersion3, "", 65535)).as<NeedMore>());
  const auto http = parsed("GET / HTTP/1.1\r\n");
  ASSERT_TRUE(http.as<BadPacket>());
  EXPECT_EQ(http.as<BadPacket>()->hex, "474554202f204854");
  EXPECT_EQ(parsed("\xFF\xFE\xFD\xFC").as<BadPacket>()->hex, "fffefdfc");
}

using Pairs = std::vector<std::pair<std::string, std::string>>;

TEST(Options, BothForms) {
  EXPECT_EQ(parse_options(""), Pairs{});
  EXPECT_EQ(parse_options("   "), Pairs{});
  const Pairs one{{"geqo", "off"}};
  for (const auto* text : {"-c geqo=off", "-cgeqo=off", "--geqo=off", "  -c \t geqo=off", "--geqo=off \n"}) {
    EXPECT_EQ(parse_options(text), one) << text;
  }
  const Pairs two{{"a", "1=2"}, {"b", ""}};
  EXPECT_EQ(parse_options("-c a=1=2 --b="), two);
}

TEST(Options, BackslashesEscape) {
  const Pairs escaped{{"application_name", "a b\\c"}, {"x", "-c"}};
  EXPECT_EQ(parse_options(R"(--application-name=a\ b\\c -c \x=-\c)"), escaped);
  EXPECT_EQ(parse_options("-c a=b\\"), (Pairs{{"a", "b"}}));  // PostgreSQL drops it too
  EXPECT_EQ(parse_options("-c a=b\\\tc"), (Pairs{{"a", "b\tc"}}));
}

TEST(Options, AnyOtherSyntaxIsRefused) {
  for (const auto* text : {"geqo=off", "-", "-c", "--", "-c ", "-c geqo", "--geqo", "-c =off", "--=off", "-e", "-B 100",
                           "-c a=1 b=2", "-c a=1 -d", "\\-c a=1", "-C a=1", "- c a=1"}) {
    EXPECT_FALSE(parse_options(text)) << text;
  }
}

}  // namespace
}  // namespace pgvigil::pgwire
