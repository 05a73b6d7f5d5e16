// Rows of the console on the wire, as text and as binary.
#include "pool/console_table.h"

#include <gtest/gtest.h>

namespace pgvigil::pool {
namespace {

using namespace std::string_literals;

const Columns kColumns = {{"t", pgwire::kText}, {"i", pgwire::kInt4}, {"q", pgwire::kInt8}, {"n", pgwire::kNumeric}};

TEST(ConsoleTable, DescribesColumnsWithPostgresTypes) {
  std::string out;
  put_row_description(out, {{"a", pgwire::kText}, {"b", pgwire::kInt4}}, {});
  EXPECT_EQ(out,
            "T\0\0\0\x2e\0\x02"
            "a\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"
            "b\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0"s);
}

TEST(ConsoleTable, WritesTextAndNull) {
  std::string out;
  put_row(out, kColumns, {"x"s, "5"s, std::nullopt, ""s}, {});
  EXPECT_EQ(out, "D\0\0\0\x18\0\x04\0\0\0\x01x\0\0\0\x01\x35\xff\xff\xff\xff\0\0\0\0"s);
}

TEST(ConsoleTable, WritesBinaryWhereItIsAskedFor) {
  std::string out;
  put_row(out, kColumns, {"x"s, "-2"s, "258"s, "0"s}, Formats({1}));
  EXPECT_EQ(out,
            "D\0\0\0\x2b\0\x04\0\0\0\x01x\0\0\0\x04\xff\xff\xff\xfe\0\0\0\x08\0\0\0\0\0\0\x01\x02"
            "\0\0\0\x08\0\0\0\0\0\0\0\0"s);
  out.clear();
  put_row(out, {{"n", pgwire::kNumeric}}, {"12345678"s}, Formats({1}));
  EXPECT_EQ(out.substr(7), "\0\0\0\x0c\0\x02\0\x01\0\0\0\0\x04\xd2\x16\x2e"s);  // 1234, 5678
  out.clear();
  put_row(out, {{"n", pgwire::kNumeric}}, {"30000"s}, Formats({1}));
  EXPECT_EQ(out.substr(7), "\0\0\0\x0a\0\x01\0\x01\0\0\0\0\0\x03"s);  // 3, weight 1
}

TEST(ConsoleTable, FormatsAreNoneOneOrOneForEach) {
  EXPECT_TRUE(Formats().fit(4));
  EXPECT_TRUE(Formats({1}).fit(4));
  EXPECT_TRUE(Formats({0, 1, 0, 1}).fit(4));
  EXPECT_FALSE(Formats({0, 1}).fit(4));
  EXPECT_EQ(Formats({0, 1, 0, 1}).of(3), 1);
}

}  // namespace
}  // namespace pgvigil::pool
