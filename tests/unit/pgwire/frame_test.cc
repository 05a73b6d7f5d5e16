#include "pgwire/frame.h"

#include <gtest/gtest.h>

namespace pgvigil::pgwire {
namespace {

using namespace std::string_literals;

TEST(Frame, WriterFillsInTheLengthWithoutTheType) {
  std::string out = "before";
  MessageWriter(out, 'x').byte(0xFF).int16(0x1234).int32(0x89ABCDEF).cstring("hi").bytes("\0z"s);
  EXPECT_EQ(out, "beforex\0\0\0\x10\xFF\x12\x34\x89\xAB\xCD\xEFhi\0\0z"s);
}

TEST(Frame, AnEmbeddedZeroEndsAText) {
  std::string out;
  MessageWriter(out, 'x').cstring("ab\0cd"s);
  EXPECT_EQ(out, "x\0\0\0\7ab\0"s);
}

TEST(Frame, ReaderReadsWhatTheWriterWrote) {
  std::string out;
  MessageWriter(out, 'x').byte(200).int16(65535).int32(0xFFFFFFFF).cstring("").cstring("text").bytes("raw");
  BodyReader reader(std::string_view(out).substr(kHeaderBytes));
  EXPECT_EQ(reader.byte(), 200);
  EXPECT_EQ(reader.int16(), 65535);
  EXPECT_EQ(reader.int32(), 0xFFFFFFFFU);
  EXPECT_EQ(reader.cstring(), "");
  EXPECT_EQ(reader.cstring(), "text");
  EXPECT_FALSE(reader.complete());
  EXPECT_EQ(reader.bytes(3), "raw");
  EXPECT_TRUE(reader.complete());
}

TEST(Frame, AFieldThatIsNotThereEndsEverything) {
  const std::string body = "\1\2\3\4text\0rest"s;
  for (std::size_t size = 0; size < 9; ++size) {
    BodyReader reader(std::string_view(body).substr(0, size));
    reader.int32();
    const auto text = reader.cstring();
    EXPECT_FALSE(reader.ok()) << size;
    EXPECT_EQ(text, "");
    EXPECT_EQ(reader.rest(), "");
    EXPECT_EQ(reader.byte() + reader.int16() + reader.int32(), 0U);
    EXPECT_EQ(reader.bytes(0), "");
    EXPECT_FALSE(reader.complete());
  }
  BodyReader reader("");
  EXPECT_TRUE(reader.complete());
  EXPECT_EQ(reader.bytes(0), "");
  EXPECT_TRUE(reader.ok());
  EXPECT_EQ(reader.bytes(std::string_view::npos), "");
  EXPECT_FALSE(reader.ok());
}

}  // namespace
}  // namespace pgvigil::pgwire
