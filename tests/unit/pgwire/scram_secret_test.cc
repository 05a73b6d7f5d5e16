#include <gtest/gtest.h>

#include "pgwire/password.h"
#include "pgwire/saslprep.h"

namespace pgvigil::pgwire {
namespace {

using namespace std::string_literals;

const std::string kSalt = "/JvMP29BdzxQDIVxBAzbdw==", kStored = "A2BvHuOMinpWL7gumAg/BZeVnWIUYppnK3QQriGbEts=",
                  kServer = "c+vL7vN1MqMba13rUV/l8db1OTQl9NaDe4FXK1UNwsU=";

std::string secret_text(const std::string& iterations, const std::string& salt, const std::string& stored,
                        const std::string& server) {
  return "SCRAM-SHA-256$" + iterations + ":" + salt + "$" + stored + ":" + server;
}

struct Made {
  std::string password, secret;
};

// Made by PostgreSQL 15 with CREATE ROLE ... PASSWORD E'...'.
const Made kMadeByPostgres[] = {
    {"secret", secret_text("4096", kSalt, kStored, kServer)},
    {"pass word",
     "SCRAM-SHA-256$4096:1ztS8zAmiwPmQMJnmiNedA==$tyxfCvK/vUF80ONVVacJHGjtwIoM/8S/cR1pmvX0eM8=:"
     "EFbZKVaKzKU8lLA2/0G2m3gWJP0jQXLCcRTGvmO9QIA="},
    {"pass\u00a0word",  // a no-break space becomes a space
     "SCRAM-SHA-256$4096:d65iThIM1/bVpUTRM5QLWw==$1F7j4XAWXHCyb3h8ze6vncg3/YDK2SiWZhXM1o5HgoI=:"
     "KHtCUBIaebnTMsbhUZtU8Be3CHcCCXVMLCWYhFDMnFg="},
    {"so\u00adft",  // a soft hyphen becomes nothing
     "SCRAM-SHA-256$4096:2GspIyxaPdMx9TpCEdxRTA==$3l4lbXNSOIyEKVi+TAZjqhd+WF6f1h8zLAwtcOqZ/4w=:"
     "hqhCx77ecVgmar7OHYWqMJ+M35GmatT3eyPDMSx1AVU="},
    {"p\u00e4ssw\u00f6rd",
     "SCRAM-SHA-256$4096:jHW6kfEpAwh91wpBfBmsLw==$ro18Wp43535u43FFDKhL47BRpDeuP+cus4t5E3SWv2w=:"
     "sRNU7EtzzQcLIIHvXyX/2/m/UPOjfLdWS9HOBMrvSZ8="},
    {"\u202e"  // prohibited: the soft hyphen stays, everything is taken raw
     "abc\u00ad",
     "SCRAM-SHA-256$4096:dWtIEhMwHZ+gpfCEpTRq7w==$DeOEQg1A1VmtEByn+5w/8G429y2mF+DXSPSYke80tSk=:"
     "+ChEoA97r+QJnLrML+gUEWZcqR6HSc4+/Bul888TtP4="},
};

TEST(ScramSecret, IsMadeAsPostgresMakesIt) {
  for (const auto& [password, text] : kMadeByPostgres) {
    const auto secret = parse_scram_secret(text);
    ASSERT_TRUE(secret) << text;
    EXPECT_EQ(scram_secret_text(*secret), text);
    EXPECT_EQ(scram_secret_text(make_scram_secret(password, secret->salt, secret->iterations)), text) << password;
  }
}

TEST(ScramSecret, Iterations) {
  for (const auto* good : {"1", "4096", "2147483647"}) {
    EXPECT_TRUE(parse_scram_secret(secret_text(good, kSalt, kStored, kServer))) << good;
  }
  for (const auto* bad : {"", "0", "-1", "+1", " 1", "1 ", "x", "4096x", "2147483648", "99999999999999999999"}) {
    EXPECT_FALSE(parse_scram_secret(secret_text(bad, kSalt, kStored, kServer))) << bad;
  }
}

TEST(ScramSecret, PartsThatAreNotThere) {
  EXPECT_FALSE(parse_scram_secret(secret_text("1", "", kStored, kServer)));
  EXPECT_FALSE(parse_scram_secret(secret_text("1", "*", kStored, kServer)));
  EXPECT_FALSE(parse_scram_secret(secret_text("1", kSalt, kSalt, kServer)));
  EXPECT_FALSE(parse_scram_secret(secret_text("1", kSalt, kStored, kSalt)));
  EXPECT_FALSE(parse_scram_secret(secret_text("1", kSalt, kStored, kServer + " ")));
  EXPECT_FALSE(parse_scram_secret(secret_text("1", base64(std::string(1025, 's')), kStored, kServer)));
  EXPECT_TRUE(parse_scram_secret(secret_text("1", base64(std::string(1024, 's')), kStored, kServer)));
  const auto whole = secret_text("4096", kSalt, kStored, kServer);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(parse_scram_secret(whole.substr(0, size))) << size;
  }
}

TEST(ScramSecret, MockOnesAreSteadyAndMatchNothing) {
  const auto key = random_bytes(32);
  const auto a = mock_scram_secret("ann", key, 4096);
  EXPECT_EQ(scram_secret_text(a), scram_secret_text(mock_scram_secret("ann", key, 4096)));
  EXPECT_EQ(a.salt.size(), 16U);
  EXPECT_EQ(a.iterations, 4096U);
  EXPECT_NE(a.salt, mock_scram_secret("bob", key, 4096).salt);
  EXPECT_NE(a.salt, mock_scram_secret("ann", random_bytes(32), 4096).salt);
  EXPECT_NE(a.stored_key, a.server_key);
  for (const auto* password : {"ann", "a", "secret"}) {
    EXPECT_FALSE(password_matches(scram_secret_text(a), "ann", password));
  }
}

TEST(Saslprep, MapsWhatRfc4013Maps) {
  EXPECT_EQ(saslprep(""), "");
  EXPECT_EQ(saslprep("I\u00adX"), "IX");  // RFC 4013 section 3
  EXPECT_EQ(saslprep("USER"), "USER");
  EXPECT_EQ(saslprep("a\u3000b\u200bc"), "a b c");
  EXPECT_EQ(saslprep("\u00e9\u20ac\U0001F600\ufe0f"), "\u00e9\u20ac\U0001F600");
}

TEST(Saslprep, FallsBackToTheBytes) {
  for (const auto& raw :
       {"\7"s, "a\u00ad\7"s, "\u00ad"s, "\u00ad\u0627\u200f"s, "\u00ad\ufffd"s, "\u00ad\xff"s, "\u00ad\xc3"s,
        "\u00ad\xe2\x82"s, "\u00ad\x80"s, "\u00ad\xc0\x80"s, "\u00ad\xe0\x80\x80"s, "\u00ad\xed\xa0\x80"s,
        "\u00ad\xf0\x80\x80\x80"s, "\u00ad\xf4\x90\x80\x80"s, "\u00ad\xf5\x80\x80\x80"s, "\u00ad\U0001FFFF"s}) {
    EXPECT_EQ(saslprep(raw), raw);
  }
}

}  // namespace
}  // namespace pgvigil::pgwire
