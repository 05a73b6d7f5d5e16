#include "pgwire/password.h"

#include <gtest/gtest.h>

#include <set>

namespace pgvigil::pgwire {
namespace {

using namespace std::string_literals;

// Made by PostgreSQL 15: CREATE ROLE u1 PASSWORD 'secret', and with password_encryption = md5 for m1.
constexpr std::string_view kScram =
    "SCRAM-SHA-256$4096:/JvMP29BdzxQDIVxBAzbdw==$A2BvHuOMinpWL7gumAg/BZeVnWIUYppnK3QQriGbEts=:"
    "c+vL7vN1MqMba13rUV/l8db1OTQl9NaDe4FXK1UNwsU=";
constexpr std::string_view kMd5 = "md5132ecbcbfa11be529b63ea4c4e734056";

TEST(Password, Forms) {
  EXPECT_EQ(password_form(kScram), PasswordForm::Scram);
  EXPECT_EQ(password_form(kMd5), PasswordForm::Md5);
  for (const auto& plain : {""s, "secret"s, "md5"s, std::string(kMd5).substr(0, 34), std::string(kMd5) + "0",
                            "md5132ECBCBFA11BE529B63EA4C4E734056"s, "md5132ecbcbfa11be529b63ea4c4e73405g"s,
                            "MD5132ecbcbfa11be529b63ea4c4e734056"s, "SCRAM-SHA-256$"s,
                            std::string(kScram).substr(0, kScram.size() - 1), "scram-sha-256$4096:"s}) {
    EXPECT_EQ(password_form(plain), PasswordForm::Plain) << plain;
  }
}

TEST(Password, Md5KnownAnswers) {  // RFC 1321, appendix A.5
  EXPECT_EQ(md5_hex(""), "d41d8cd98f00b204e9800998ecf8427e");
  EXPECT_EQ(md5_hex("message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
  EXPECT_EQ(md5_hex({}), "d41d8cd98f00b204e9800998ecf8427e");
  EXPECT_EQ(md5_stored("secret", "m1"), kMd5);
  // concat('md5', md5(concat(md5(concat(password, username)), random-salt))): documentation, "Start-up".
  EXPECT_EQ(md5_response(kMd5, "\1\2\3\4"), "md5" + md5_hex("132ecbcbfa11be529b63ea4c4e734056\1\2\3\4"));
  EXPECT_EQ(md5_response("", "\1\2\3\4"), "md5" + md5_hex("\1\2\3\4"));
  EXPECT_EQ(md5_response("md", "\1\2\3\4"), "md5" + md5_hex("\1\2\3\4"));
}

TEST(Password, EqualConstantTime) {
  EXPECT_TRUE(equal_constant_time("", ""));
  EXPECT_TRUE(equal_constant_time("a\0b"s, "a\0b"s));
  EXPECT_FALSE(equal_constant_time("a\0b"s, "a\0c"s));
  EXPECT_FALSE(equal_constant_time("a", "ab"));
  EXPECT_FALSE(equal_constant_time("", "a"));
}

TEST(Password, RandomBytesDiffer) {
  EXPECT_EQ(random_bytes(0), "");
  EXPECT_EQ(random_bytes(1000).size(), 1000U);
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) seen.insert(random_bytes(8));
  EXPECT_EQ(seen.size(), 100U);
  EXPECT_NE(scram_nonce(), scram_nonce());
  EXPECT_EQ(scram_nonce().size(), 24U);
}

TEST(Password, MatchesInEveryForm) {
  EXPECT_TRUE(password_matches("secret", "u1", "secret"));
  EXPECT_TRUE(password_matches(kMd5, "m1", "secret"));
  EXPECT_TRUE(password_matches(kScram, "u1", "secret"));
  EXPECT_TRUE(password_matches(kScram, "whoever", "secret"));
  EXPECT_FALSE(password_matches("secret", "u1", "Secret"));
  EXPECT_FALSE(password_matches(kMd5, "m2", "secret"));
  EXPECT_FALSE(password_matches(kMd5, "m1", "secret "));
  EXPECT_FALSE(password_matches(kScram, "u1", "Secret"));
  EXPECT_FALSE(password_matches(kMd5, "m1", kMd5));  // a stolen hash is not a password
  EXPECT_FALSE(password_matches(kScram, "u1", kScram));
}

TEST(Password, EmptyMatchesNothing) {
  EXPECT_FALSE(password_matches("", "u1", ""));
  EXPECT_FALSE(password_matches("", "u1", "secret"));
  EXPECT_FALSE(password_matches(md5_stored("", "u1"), "u1", ""));
}

TEST(Password, AStoredSecretMayNotBurnTheProcessor) {
  auto secret = std::string(kScram);
  secret.replace(secret.find("4096"), 4, "2147483647");
  EXPECT_EQ(password_form(secret), PasswordForm::Scram);
  EXPECT_FALSE(password_matches(secret, "u1", "secret"));
}

TEST(Base64, KnownAnswers) {  // RFC 4648 section 10
  const std::pair<std::string, std::string> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"},
                                                         {"\xFB\xFF\xBF\0"s, "+/+/AA=="}};
  for (const auto& [data, text] : vectors) {
    EXPECT_EQ(base64(data), text);
    EXPECT_EQ(base64_decode(text), data);
  }
}

TEST(Base64, OnlyTheFormThatEncodingGives) {
  for (const auto& text : {"Z"s, "Zg"s, "Zg="s, "Zg==="s, "Zh=="s, "Zm9="s, "===="s, "Z==="s, "Zg==Zg=="s, "Zm8=Zm8="s,
                           "Zm9v\n"s, " Zm9v"s, "Zm-v"s, "Zm_v"s, "Zm=v"s, "=m9v"s, "Zm9\0"s, "Zm9\xFF"s, "Zg=g"s}) {
    EXPECT_FALSE(base64_decode(text)) << text;
  }
}

}  // namespace
}  // namespace pgvigil::pgwire
