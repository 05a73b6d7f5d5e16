#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pgwire/messages.h"

namespace pgvigil::pgwire {
namespace {

using namespace std::string_literals;
using testing::ElementsAre;
using testing::IsEmpty;

template <class F, class... Args>
std::string made(F make, const Args&... args) {
  std::string out;
  make(out, args...);
  return out;
}

TEST(ServerMessages, Requests) {
  EXPECT_EQ(made(query, "SELECT 1"), "Q\0\0\0\x0DSELECT 1\0"s);
  EXPECT_EQ(made(query, ""), "Q\0\0\0\5\0"s);
  EXPECT_EQ(made(password_message, "secret"), "p\0\0\0\x0Bsecret\0"s);
  EXPECT_EQ(made(sasl_initial_response, "SCRAM-SHA-256", "n,,n=,r=x"),
            "p\0\0\0\x1FSCRAM-SHA-256\0\0\0\0\x09n,,n=,r=x"s);
  EXPECT_EQ(made(sasl_response, "c=biws"),
            "p\0\0\0\x0A"
            "c=biws"s);
  EXPECT_EQ(made(parse, "S_1", "SELECT $1\0\0\1\0\0\0\x17"s), "P\0\0\0\x18S_1\0SELECT $1\0\0\1\0\0\0\x17"s);
  EXPECT_EQ(made(close_statement, "S_1"), "C\0\0\0\x09SS_1\0"s);
  EXPECT_EQ(made(sync), "S\0\0\0\4"s);
  EXPECT_EQ(made(terminate), "X\0\0\0\4"s);
}

// As PostgreSQL 15 sent it.
const auto kNobody =
    "SFATAL\0VFATAL\0C28000\0Mrole \"nobody\" does not exist\0Dd\0Hh\0Fmiscinit.c\0L768\0RInitializeSessionUserId\0\0"s;

TEST(ErrorFields, AreReadByLetter) {
  const auto fields = parse_error_fields(kNobody);
  EXPECT_EQ(fields.severity, "FATAL");
  EXPECT_EQ(fields.sqlstate, "28000");
  EXPECT_EQ(fields.message, "role \"nobody\" does not exist");
  EXPECT_EQ(fields.detail, "d");
  EXPECT_EQ(fields.hint, "h");
}

TEST(ErrorFields, TheUntranslatedSeverityCounts) {
  EXPECT_EQ(parse_error_fields("SFEHLER\0VERROR\0\0"s).severity, "ERROR");
  EXPECT_EQ(parse_error_fields("VERROR\0SFEHLER\0\0"s).severity, "ERROR");
  EXPECT_EQ(parse_error_fields("SERROR\0\0"s).severity, "ERROR");
}

TEST(ErrorFields, EveryCutGivesAPrefix) {
  for (std::size_t size = 0; size < kNobody.size(); ++size) {
    const auto fields = parse_error_fields(std::string_view(kNobody).substr(0, size));
    EXPECT_TRUE(fields.message.empty() || fields.message == "role \"nobody\" does not exist") << size;
    EXPECT_TRUE(fields.sqlstate.empty() || fields.sqlstate == "28000") << size;
  }
}

TEST(SaslMechanisms, AreListed) {
  EXPECT_THAT(parse_sasl_mechanisms("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"s),
              ElementsAre("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"));
  EXPECT_THAT(parse_sasl_mechanisms("\0"s), IsEmpty());
  EXPECT_THAT(parse_sasl_mechanisms(""), IsEmpty());
  EXPECT_THAT(parse_sasl_mechanisms("SCRAM-SHA-256\0SCRAM-"s), ElementsAre("SCRAM-SHA-256"));
}

TEST(DataRow, ReadsWhatItWrites) {
  const std::vector<std::optional<std::string>> values{"app", std::nullopt, "", "md5\0x"s};
  const auto message = made(data_row, values);
  EXPECT_EQ(parse_data_row(std::string_view(message).substr(kHeaderBytes)), values);
  EXPECT_EQ(parse_data_row("\0\0"s), (std::vector<std::optional<std::string>>{}));
}

TEST(DataRow, EveryCutAndEveryExcessIsMalformed) {
  const auto message = made(data_row, std::vector<std::optional<std::string>>{"app", std::nullopt, "x"});
  const auto body = message.substr(kHeaderBytes);
  for (std::size_t size = 0; size < body.size(); ++size) EXPECT_FALSE(parse_data_row(body.substr(0, size))) << size;
  EXPECT_FALSE(parse_data_row(body + '\0'));
  EXPECT_FALSE(parse_data_row("\xFF\xFF"s));
  EXPECT_FALSE(parse_data_row("\0\1\xFF\xFF\xFF\xFE"s));  // only -1 is NULL
  EXPECT_FALSE(parse_data_row("\0\1\x7F\xFF\xFF\xFFx"s));
}

TEST(QuoteLiteral, Forms) {
  EXPECT_EQ(quote_literal(""), "''");
  EXPECT_EQ(quote_literal("it's"), "'it''s'");
  EXPECT_EQ(quote_literal("a\\b"), R"(E'a\\b')");
  EXPECT_EQ(quote_literal("\\'"), R"(E'\\''')");
  EXPECT_EQ(quote_literal("ISO, MDY"), "'ISO, MDY'");
  EXPECT_EQ(quote_literal("a\0'; DROP"s), "'a'");
}

}  // namespace
}  // namespace pgvigil::pgwire
