// Expected bytes are written out by hand from the documentation's "Message Formats", or were sent by PostgreSQL 15.
#include <gtest/gtest.h>

#include "pgwire/messages.h"

namespace pgvigil::pgwire {
namespace {

using namespace std::string_literals;

template <class F, class... Args>
std::string made(F make, const Args&... args) {
  std::string out;
  make(out, args...);
  return out;
}

TEST(ClientMessages, ErrorsHaveThreeFields) {
  EXPECT_EQ(made(error_response, "FATAL", "08P01", "no such user"), "E\0\0\0\x21SFATAL\0C08P01\0Mno such user\0\0"s);
}

TEST(ClientMessages, NoticesMayHaveADetail) {
  EXPECT_EQ(made(notice_response, "NOTICE", "00000", "Console usage", "\n\tSHOW HELP"),
            "N\0\0\0\x30SNOTICE\0C00000\0MConsole usage\0D\n\tSHOW HELP\0\0"s);
  EXPECT_EQ(made(notice_response, "NOTICE", "00000", "hi", ""), "N\0\0\0\x18SNOTICE\0C00000\0Mhi\0\0"s);
}

TEST(ClientMessages, Authentication) {
  EXPECT_EQ(made(authentication_ok), "R\0\0\0\x08\0\0\0\0"s);
  EXPECT_EQ(made(authentication_cleartext), "R\0\0\0\x08\0\0\0\3"s);
  EXPECT_EQ(made(authentication_md5, "\1\2\3\0"s), "R\0\0\0\x0C\0\0\0\5\1\2\3\0"s);
  EXPECT_EQ(made(authentication_sasl, std::vector<std::string_view>{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"}),
            "R\0\0\0\x2A\0\0\0\x0ASCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"s);
  EXPECT_EQ(made(authentication_sasl_continue, "r=x"), "R\0\0\0\x0B\0\0\0\x0Br=x"s);
  EXPECT_EQ(made(authentication_sasl_final, "v=x"), "R\0\0\0\x0B\0\0\0\x0Cv=x"s);
}

TEST(ClientMessages, Welcome) {
  EXPECT_EQ(made(parameter_status, "server_version", "15.13"), "S\0\0\0\x19server_version\00015.13\0"s);
  EXPECT_EQ(made(backend_key_data, "\0\1\2\3\4\5\6\7"s), "K\0\0\0\x0C\0\1\2\3\4\5\6\7"s);
  EXPECT_EQ(made(ready_for_query, 'I'), "Z\0\0\0\5I"s);
  EXPECT_EQ(made(command_complete, "SHOW"), "C\0\0\0\x09SHOW\0"s);
}

TEST(ClientMessages, NegotiationLikePostgres15) {
  EXPECT_EQ(made(negotiate_protocol_version, 0, std::vector<std::string>{"_pq_.foo"}),
            "v\0\0\0\x15\0\3\0\0\0\0\0\1_pq_.foo\0"s);
  EXPECT_EQ(made(negotiate_protocol_version, 2, std::vector<std::string>{}), "v\0\0\0\x0C\0\3\0\2\0\0\0\0"s);
}

TEST(ClientMessages, RowsLikePostgres15) {
  // select 1::int4 as a, null::text as b, 'x'::text as c
  EXPECT_EQ(made(row_description, std::vector<Column>{{"a", kInt4}, {"b", kText}, {"c", kText}}),
            "T\0\0\0\x42\0\3"
            "a\0\0\0\0\0\0\0\0\0\0\x17\0\4\xff\xff\xff\xff\0\0"
            "b\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"
            "c\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0"s);
  EXPECT_EQ(made(data_row, std::vector<std::optional<std::string>>{"1", std::nullopt, "x"}),
            "D\0\0\0\x14\0\3\0\0\0\0011\xff\xff\xff\xff\0\0\0\1x"s);
}

TEST(ClientMessages, MessagesFollowEachOther) {
  std::string out;
  authentication_ok(out);
  ready_for_query(out, 'I');
  EXPECT_EQ(out, "R\0\0\0\x08\0\0\0\0Z\0\0\0\5I"s);
}

}  // namespace
}  // namespace pgvigil::pgwire
