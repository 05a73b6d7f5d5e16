#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "api/http.h"
#include "api/json.h"
#include "api/units.h"
#include "base/timestamp.h"

namespace pgvigil::api {
namespace {

TEST(Json, IsWrittenWithSpacesAndEscapes) {
  const auto value =
      parse_json("{\"a\":1,\"b\":[true,null,1.5],\"c\":{},\"d\":\"\xc3\xa9\xf0\x9f\x98\x80\\u0001\\n\"}");
  ASSERT_TRUE(value);
  EXPECT_EQ(dump_spaced(*value), R"({"a": 1, "b": [true, null, 1.5], "c": {}, "d": "\u00e9\ud83d\ude00\u0001\n"})");
  EXPECT_EQ(dump_compact(*value), R"({"a":1,"b":[true,null,1.5],"c":{},"d":"\u00e9\ud83d\ude00\u0001\n"})");
}

TEST(Json, WritesValidTextForBytesThatAreNot) {
  const Json value = std::string("a\xff") + "b";
  EXPECT_EQ(dump_spaced(value), "\"a\\ufffdb\"");
}

TEST(Json, RefusesForeignTextThatIsUnusable) {
  EXPECT_FALSE(parse_json(""));
  EXPECT_FALSE(parse_json("{"));
  EXPECT_FALSE(parse_json("{} x"));
  EXPECT_FALSE(parse_json("\"\xff\""));
  EXPECT_FALSE(parse_json_object("[]"));
  EXPECT_FALSE(parse_json(std::string(1000000, '[')));
  EXPECT_TRUE(parse_json("\"" + std::string(1000, '[') + "\""));
  EXPECT_TRUE(parse_json("\"\\\"" + std::string(1000, '{') + "\""));
  const auto depth = static_cast<std::size_t>(kJsonDepthMax);
  EXPECT_TRUE(parse_json(std::string(depth, '[') + std::string(depth, ']')));
  EXPECT_FALSE(parse_json(std::string(depth + 1, '[') + std::string(depth + 1, ']')));
}

TEST(Json, ComparesAcrossTypesAsText) {
  EXPECT_EQ(text_of(Json(100)), text_of(Json("100")));
  EXPECT_NE(text_of(Json(true)), text_of(Json("true")));
  EXPECT_FALSE(truthy(Json(0)) || truthy(Json("")) || truthy(Json(nullptr)) || truthy(Json::array()));
  EXPECT_TRUE(truthy(Json("x")) && truthy(Json(1)));
  EXPECT_TRUE(parse_switch(Json("ON")) && parse_switch(Json(1)) && parse_switch(Json(true)));
  EXPECT_FALSE(parse_switch(Json("off")) || parse_switch(Json("maybe")) || parse_switch(Json(nullptr)));
}

TEST(Units, Bytes) {
  EXPECT_EQ(parse_bytes("0"), 0);
  EXPECT_EQ(parse_bytes("1024"), 1024);
  EXPECT_EQ(parse_bytes("10B"), 10);
  EXPECT_EQ(parse_bytes("16kB"), 16384);
  EXPECT_EQ(parse_bytes(" 1.5 MB "), 1572864);
  EXPECT_EQ(parse_bytes("1GB"), 1073741824);
  EXPECT_EQ(parse_bytes("1TB"), 1099511627776);
  EXPECT_EQ(parse_bytes("0x10"), 16);
  for (const char* bad : {"", " ", "MB", "1kb", "1PB", "abc", "1 2", "nan", "inf", "1e300", "9999999999999TB", "-"}) {
    EXPECT_FALSE(parse_bytes(bad)) << bad;
  }
  EXPECT_FALSE(parse_bytes(std::string(100000, '1')));
}

TEST(Units, Seconds) {
  EXPECT_EQ(parse_seconds("30"), 30);
  EXPECT_EQ(parse_seconds("1min"), 60);
  EXPECT_EQ(parse_seconds("1500ms"), 2);
  EXPECT_EQ(parse_seconds("2h"), 7200);
  EXPECT_EQ(parse_seconds("-5"), -5);
  EXPECT_FALSE(parse_seconds("1m"));
  EXPECT_FALSE(parse_seconds("soon"));
}

TEST(Timestamp, IsReadInItsForms) {
  const WallTime expected(std::chrono::microseconds(1769220832281130));
  for (const char* text : {"2026-01-24T02:13:52.281130+00:00", "2026-01-24 02:13:52.28113Z", "20260124T021352.281130Z",
                           "2026-01-24T04:13:52.281130+02:00", "2026-01-24T04:13:52.281130 +0200",
                           "2026-01-23T21:13:52,281130-05", "2026-01-24 02:13:52.281130 UTC"}) {
    const auto time = parse_timestamp(text);
    ASSERT_TRUE(time) << text;
    EXPECT_EQ(time->at, expected) << text;
    EXPECT_TRUE(time->offset) << text;
  }
  for (const char* naive : {"2026-01-24T02:13:52", "2026-01-24 02:13", "2026-01-24"}) {
    const auto time = parse_timestamp(naive);
    ASSERT_TRUE(time) << naive;
    EXPECT_FALSE(time->offset) << naive;
  }
  for (const char* bad : {"", "now", "2026", "2026-13-01", "2026-02-30T00:00:00Z", "2026-01-24T25:00:00Z",
                          "2026-01-24T02:60Z", "2026-01-24T02:13:52+", "2026-01-24T02:13:52Zx", "2026-01-24T02:13:52.Z",
                          "2026-01-24T02:13:52+25:00", "2026-01-24X02:13", "-026-01-24"}) {
    EXPECT_FALSE(parse_timestamp(bad)) << bad;
  }
}

TEST(Timestamp, IsReadOrRefusedWhereverItIsCut) {
  const std::string text = "2026-01-24T02:13:52.281130+00:00";
  for (std::size_t length = 0; length <= text.size(); ++length) parse_timestamp(text.substr(0, length));
}

TEST(Timestamp, IsWrittenWithItsOffset) {
  const auto time = parse_timestamp("2026-01-24T04:13:52-05:30");
  ASSERT_TRUE(time);
  EXPECT_EQ(iso_text(time->at, *time->offset), "2026-01-24T04:13:52-05:30");
  EXPECT_EQ(iso_text(time->at, std::chrono::minutes(0)), "2026-01-24T09:43:52+00:00");
  EXPECT_EQ(iso_text(time->at + std::chrono::microseconds(5), std::chrono::minutes(0)),
            "2026-01-24T09:43:52.000005+00:00");
}

TEST(Target, IsSplit) {
  const Target target = parse_target("/x/replica?lag=1%30MB&tag_a=b+c&lag=5&empty=&flag#end");
  EXPECT_EQ(target.path, "/x/replica");
  EXPECT_EQ(target.segment, "x");
  EXPECT_EQ(target.query, (std::map<std::string, std::string>{{"lag", "10MB"}, {"tag_a", "b c"}}));
  EXPECT_EQ(parse_target("http://proxy:1/patroni/a").segment, "patroni");
  EXPECT_EQ(parse_target("https://proxy").path, "/");
  EXPECT_EQ(parse_target("//patroni").segment, "patroni");
  EXPECT_EQ(parse_target("*").path, "*");
  EXPECT_EQ(parse_target("").segment, "");
  EXPECT_EQ(parse_target("/a?b=%").query.at("b"), "%");
  EXPECT_EQ(parse_target("/a?b=%4").query.at("b"), "%4");
}

TEST(Url, IsSplitOrRefused) {
  const auto plain = parse_url("http://10.0.0.1:8008/patroni?x=1#y");
  ASSERT_TRUE(plain);
  EXPECT_FALSE(plain->tls);
  EXPECT_EQ(plain->host + "|" + plain->port + "|" + plain->path, "10.0.0.1|8008|/patroni?x=1");
  const auto six = parse_url("https://[fd00::1]");
  ASSERT_TRUE(six);
  EXPECT_TRUE(six->tls);
  EXPECT_EQ(six->host + "|" + six->port + "|" + six->path, "fd00::1|443|/");
  for (const char* bad : {"", "ftp://a", "http://", "http://:80", "http://[::1", "http://[::1]x", "http://a:b",
                          "http://a:123456", "http://a/ b", "http://a/\r\nX: y", "postgres://a"}) {
    EXPECT_FALSE(parse_url(bad)) << bad;
  }
}

TEST(Reply, BytesAreExact) {
  ReplyStyle style;
  style.server = "Patroni/4.1.4";
  style.extra_headers = {{"X-Frame", "DENY"}};
  const WallTime now(std::chrono::seconds(784111777));
  EXPECT_EQ(serialize(status_only(503), style, now), "HTTP/1.0 503 Service Unavailable\r\n\r\n");
  EXPECT_EQ(serialize(text_reply(202, "reload scheduled"), style, now),
            "HTTP/1.0 202 Accepted\r\nServer: Patroni/4.1.4\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
            "Content-Type: text/html\r\nX-Frame: DENY\r\n\r\nreload scheduled");
  EXPECT_EQ(serialize(json_reply(200, Json::object({{"a", 1}})), style, now),
            "HTTP/1.0 200 OK\r\nServer: Patroni/4.1.4\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
            "Content-Type: application/json\r\nX-Frame: DENY\r\n\r\n{\"a\": 1}");
  const std::string page = serialize(error_page(501), style, now);
  EXPECT_EQ(page.substr(0, 30), "HTTP/1.0 501 Not Implemented\r\n");
  EXPECT_NE(page.find("Server does not support this operation"), std::string::npos);
}

}  // namespace
}  // namespace pgvigil::api
