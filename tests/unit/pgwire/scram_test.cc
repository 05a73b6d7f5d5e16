#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pgwire/password.h"

namespace pgvigil::pgwire {
namespace {

using namespace std::string_literals;
using testing::HasSubstr;

const std::string kBinding = "\x01\x00 hash, of the certificate"s;

// RFC 7677 section 3.
constexpr std::string_view kFirst = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
constexpr std::string_view kServerNonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
constexpr std::string_view kServerFirst =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
constexpr std::string_view kFinal =
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
constexpr std::string_view kServerFinal = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

ScramSecret pencil() { return make_scram_secret("pencil", *base64_decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096); }
ScramSecret quick(std::string_view password = "secret") { return make_scram_secret(password, "saltsaltsaltsalt", 2); }

template <class T>
std::string reason(const Result<T>& result) {
  if (result) return "(accepted)";
  EXPECT_EQ(result.error().code, Errc::Unauthorized);
  EXPECT_EQ(result.error().message().find('\n'), std::string::npos);
  return result.error().message();
}

TEST(ScramServer, ExampleOfRfc7677) {
  ScramServer server(pencil(), "");
  EXPECT_EQ(server.first(kFirst, false, kServerNonce).value(), kServerFirst);
  EXPECT_EQ(server.final(kFinal).value(), kServerFinal);
}

struct Outcome {
  std::string reason;  // of the first refusal
  ScramKeys proven;
};

Outcome exchange(ScramServer& server, ScramClient& client, bool plus) {
  const auto challenge = server.first(client.first(), plus);
  if (!challenge) return {reason(challenge), {}};
  const auto proof = client.final(*challenge);
  if (!proof) return {reason(proof), {}};
  const auto signature = server.final(*proof);
  if (!signature) return {reason(signature), {}};
  const auto verified = client.verify(*signature);
  return {verified ? "" : reason(verified), server.proven()};
}

TEST(Scram, ClientAndServerAgree) {
  for (const auto* password : {"secret", "p\u00e4ss\u00a0word", "\xff raw", "x"}) {
    ScramServer server(quick(password), "");
    ScramClient client(Secret(password), "");
    EXPECT_EQ(exchange(server, client, false).reason, "") << password;
  }
}

TEST(Scram, ClientAndServerAgreeWithChannelBinding) {
  ScramServer server(quick(), kBinding);
  ScramClient client(Secret("secret"), kBinding);
  EXPECT_EQ(exchange(server, client, true).reason, "");
}

TEST(Scram, ProvenKeysLogInElsewhere) {
  ScramServer pooler(quick(), "");
  ScramClient app(Secret("secret"), "");
  const auto outcome = exchange(pooler, app, false);
  ASSERT_EQ(outcome.reason, "");
  ScramServer postgres(quick(), kBinding);
  ScramClient again(outcome.proven, kBinding);
  EXPECT_EQ(exchange(postgres, again, true).reason, "");

  ScramServer other(make_scram_secret("secret", "another salt", 2), "");
  ScramClient refused(outcome.proven, "");
  EXPECT_THAT(exchange(other, refused, false).reason, HasSubstr("wrong password"));
}

TEST(Scram, WrongPasswordsAreRefused) {
  for (const auto* password : {"Secret", "secret ", "", "secre"}) {
    ScramServer server(quick(), "");
    ScramClient client(Secret(password), "");
    const auto outcome = exchange(server, client, false);
    EXPECT_THAT(outcome.reason, HasSubstr("wrong password")) << password;
    EXPECT_EQ(server.proven().client_key, Key{});
  }
  ScramServer mock(mock_scram_secret("ann", "key", 2), "");
  ScramClient client(Secret("secret"), "");
  EXPECT_THAT(exchange(mock, client, false).reason, HasSubstr("wrong password"));
}

TEST(Scram, AnotherChannelIsRefused) {
  ScramServer server(quick(), kBinding);
  ScramClient client(Secret("secret"), "certificate of somebody in between");
  EXPECT_THAT(exchange(server, client, true).reason, HasSubstr("somebody is in between"));
}

TEST(ScramServer, ChannelBindingFlags) {
  const auto first = [](std::string_view binding, std::string_view header, bool plus) {
    return reason(ScramServer(quick(), std::string(binding)).first(std::string(header) + "n=,r=abc", plus));
  };
  EXPECT_EQ(first("", "n,,", false), "(accepted)");
  EXPECT_EQ(first("", "y,,", false), "(accepted)");
  EXPECT_EQ(first("b", "n,,", false), "(accepted)");
  EXPECT_EQ(first("b", "p=tls-server-end-point,,", true), "(accepted)");
  EXPECT_THAT(first("b", "y,,", false), HasSubstr("did not reach the client"));
  EXPECT_THAT(first("b", "n,,", true), HasSubstr("no channel bound"));
  EXPECT_THAT(first("b", "y,,", true), HasSubstr("no channel bound"));
  EXPECT_THAT(first("b", "p=tls-server-end-point,,", false), HasSubstr("not chosen"));
  EXPECT_THAT(first("", "p=tls-server-end-point,,", false), HasSubstr("not chosen"));
  EXPECT_THAT(first("", "p=tls-server-end-point,,", true), HasSubstr("not offered"));
  EXPECT_THAT(first("b", "p=tls-unique,,", true), HasSubstr("unsupported channel binding tls-unique"));
  EXPECT_THAT(first("b", "p=tls-server-end-point2,,", true), HasSubstr("unsupported"));
  EXPECT_THAT(first("b", "p=\n\xff,,", true), HasSubstr("unsupported channel binding ??"));
  EXPECT_THAT(first("b", "p=,,", true), HasSubstr("unsupported"));
}

TEST(ScramServer, FirstMessagesThatAreRefused) {
  const auto first = [](std::string_view message) { return reason(ScramServer(quick(), "").first(message, false)); };
  EXPECT_EQ(first("n,,n=,r=a"), "(accepted)");
  EXPECT_EQ(first("n,,n=j=2Cd\xc3\xa9,r=a,x=1,Y=2"), "(accepted)");
  EXPECT_THAT(first("n,a=admin,n=,r=a"), HasSubstr("authorization identities"));
  EXPECT_THAT(first("n,,m=1,n=,r=a"), HasSubstr("requires an extension"));
  for (const auto& message : {""s,
                              "n"s,
                              "n,"s,
                              "n,,"s,
                              "n,,n="s,
                              "n,,n=,"s,
                              "n,,n=,r"s,
                              "n,,n=,r="s,
                              "n,,r=a"s,
                              "n,,n=,x=1"s,
                              "n,,r=a,n="s,
                              "n,,n=,r= a"s,
                              "n,,n=,r=a\x7f"s,
                              "n,,n=,r=\xc3\xa9"s,
                              "n,,n=,r=a,"s,
                              "n,,n=,r=a,,"s,
                              "n,,n=,r=a,x"s,
                              "n,,n=,r=a,1=2"s,
                              "n,,n=,r=a,m=1"s,
                              "n,,n=,r=a\0"s,
                              "\0n,,n=,r=a"s,
                              "x,,n=,r=a"s,
                              "nn,,n=,r=a"s,
                              ",,n=,r=a"s,
                              "n,x,n=,r=a"s,
                              "n,,,n=,r=a"s}) {
    EXPECT_NE(first(message), "(accepted)") << message;
  }
  EXPECT_NE(first("n,,n=,r=" + std::string(1017, 'a')), "(accepted)");
  EXPECT_EQ(first("n,,n=,r=" + std::string(1016, 'a')), "(accepted)");
}

TEST(ScramServer, FirstMessageCutAtEveryByte) {
  for (std::size_t size = 0; size < kFirst.size(); ++size) {
    const auto result = ScramServer(quick(), "").first(kFirst.substr(0, size), false);
    EXPECT_EQ(result.has_value(), size > kFirst.find("r=") + 2) << size;
  }
}

TEST(ScramServer, FinalMessageCutOrChangedAtEveryByte) {
  const auto final = [](std::string_view message) {
    ScramServer server(pencil(), "");
    EXPECT_TRUE(server.first(kFirst, false, kServerNonce));
    const auto result = server.final(message);
    EXPECT_EQ(server.proven().client_key == Key{}, !result);
    return reason(result);
  };
  EXPECT_EQ(final(kFinal), "(accepted)");
  for (std::size_t i = 0; i < kFinal.size(); ++i) {
    EXPECT_NE(final(kFinal.substr(0, i)), "(accepted)") << i;
    for (const int bit : {1, 2, 4, 128}) {
      std::string changed(kFinal);
      changed[i] = static_cast<char>(changed[i] ^ bit);
      EXPECT_NE(final(changed), "(accepted)") << changed;
    }
  }
  const std::string whole(kFinal);
  const auto proof = whole.substr(whole.find(",p="));
  for (const auto& message : {whole + ",", whole + ",x=1", whole + "\0"s, whole + proof, proof.substr(1),
                              whole.substr(0, whole.find(",p=")) + ",m=1" + proof, "c=eSws" + whole.substr(6),
                              whole.substr(7), std::string(2000, 'c'), ""s}) {
    EXPECT_NE(final(message), "(accepted)") << message;
  }
}

TEST(ScramServer, UnknownExtensionsOfTheFinalMessageAreSigned) {
  // Ignored, but part of what the proof covers: inserting one breaks the proof.
  ScramServer server(pencil(), "");
  EXPECT_TRUE(server.first(kFirst, false, kServerNonce));
  std::string message(kFinal);
  message.insert(message.find(",p="), ",x=1");
  EXPECT_THAT(reason(server.final(message)), HasSubstr("wrong password"));
}

TEST(ScramServer, OneExchangeOnly) {
  ScramServer server(pencil(), "");
  EXPECT_THAT(reason(server.final(kFinal)), HasSubstr("without its first one"));
  EXPECT_TRUE(server.first(kFirst, false, kServerNonce));
  EXPECT_THAT(reason(server.first(kFirst, false, kServerNonce)), HasSubstr("second first"));
  EXPECT_FALSE(server.final("c=biws,r=guess,p=AAAA"));
  EXPECT_FALSE(server.final(kFinal));

  ScramServer refused(pencil(), "");
  EXPECT_FALSE(refused.first("x", false));
  EXPECT_FALSE(refused.first(kFirst, false));
  EXPECT_FALSE(refused.final(kFinal));
}

TEST(ScramServer, AFlagChangedOnTheWayIsNoticed) {
  // Somebody turned the client's "y" into "n": the client's c= tells.
  ScramServer server(quick(), "");
  ScramClient client(Secret("secret"), "");
  auto first = client.first();
  first[0] = 'y';
  const auto proof = client.final(server.first(first, false).value());
  EXPECT_THAT(reason(server.final(proof.value())), HasSubstr("channel binding differs"));
}

TEST(ScramClient, Messages) {
  ScramClient client(Secret("secret"), "");
  EXPECT_EQ(client.first("abc"), "n,,n=,r=abc");
  EXPECT_THAT(client.final("r=abcdef,s=c2FsdA==,i=1").value(), testing::StartsWith("c=biws,r=abcdef,p="));
  ScramClient bound(Secret("secret"), "xyz");
  EXPECT_EQ(bound.first("abc"), "p=tls-server-end-point,,n=,r=abc");
  EXPECT_THAT(bound.final("r=abcdef,s=c2FsdA==,i=1").value(),
              testing::StartsWith("c=" + base64("p=tls-server-end-point,,xyz") + ",r=abcdef,p="));
}

TEST(ScramClient, ServerFirstMessagesThatAreRefused) {
  const auto answer = [](std::string_view message) {
    ScramClient client(Secret("secret"), "");
    client.first("abc");
    return reason(client.final(message));
  };
  EXPECT_EQ(answer("r=abcd,s=c2FsdA==,i=1"), "(accepted)");
  EXPECT_THAT(answer("r=abc,s=c2FsdA==,i=1"), HasSubstr("does not extend"));
  EXPECT_THAT(answer("r=xbcd,s=c2FsdA==,i=1"), HasSubstr("does not extend"));
  EXPECT_THAT(answer("r=abcd,s=c2FsdA==,i=1000001"), HasSubstr("1000001 iterations"));
  EXPECT_THAT(answer("r=abcd,s=c2FsdA==,i=2147483647"), HasSubstr("iterations"));
  for (const auto* message :
       {"", "r=abcd", "r=abcd,", "r=abcd,s=c2FsdA==", "r=abcd,s=c2FsdA==,",
        "r=abcd,s=c2FsdA==,i=", "r=abcd,s=c2FsdA==,i=0", "r=abcd,s=c2FsdA==,i=-1", "r=abcd,s=c2FsdA==,i=+1",
        "r=abcd,s=c2FsdA==,i=1x", "r=abcd,s=c2FsdA==,i=99999999999", "r=abcd,s=,i=1", "r=abcd,s=*,i=1",
        "r=abcd,i=1,s=c2FsdA==", "m=x,r=abcd,s=c2FsdA==,i=1", "r=abcd,s=c2FsdA==,i=1,", "r=abcd,s=c2FsdA==,i=1,x=1",
        "e=other-error", "r=abcd\x01,s=c2FsdA==,i=1"}) {
    EXPECT_NE(answer(message), "(accepted)") << message;
  }
  EXPECT_NE(answer("r=abcd" + std::string(5000, 'x') + ",s=c2FsdA==,i=1"), "(accepted)");
  const std::string whole = "r=abcd,s=c2FsdA==,i=10";
  for (std::size_t size = 0; size + 1 < whole.size(); ++size) {  // without its last byte it is another count
    EXPECT_NE(answer(whole.substr(0, size)), "(accepted)") << size;
  }
}

TEST(ScramClient, ServerFinalMessageCutOrChangedAtEveryByte) {
  ScramServer server(quick(), "");
  ScramClient client(Secret("secret"), "");
  const auto proof = client.final(server.first(client.first(), false).value());
  const auto good = server.final(proof.value()).value();
  for (std::size_t i = 0; i < good.size(); ++i) {
    EXPECT_FALSE(client.verify(good.substr(0, i))) << i;
    auto changed = good;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(client.verify(changed)) << changed;
  }
  EXPECT_FALSE(client.verify(good + ","));
  EXPECT_FALSE(client.verify(good + ",x=1"));
  EXPECT_THAT(reason(client.verify("e=invalid-proof")), HasSubstr("invalid-proof"));
  EXPECT_THAT(reason(client.verify("e=a\nb")), HasSubstr("a?b"));
  EXPECT_TRUE(client.verify(good));
}

TEST(ScramClient, AServerWithoutTheSecretIsNoticed) {
  ScramServer server(quick(), "");
  ScramClient client(Secret("secret"), "");
  const auto proof = client.final(server.first(client.first(), false).value());
  EXPECT_TRUE(proof);
  EXPECT_THAT(reason(client.verify("v=" + base64(std::string(32, '\0')))), HasSubstr("cannot sign"));
}

TEST(ScramClient, MessagesOutOfOrderAreRefused) {
  ScramClient client(Secret("secret"), "");
  EXPECT_FALSE(client.final("r=abcd,s=c2FsdA==,i=1"));
  client.first("abc");
  EXPECT_FALSE(client.verify("v=" + base64(std::string(32, '\0'))));
  EXPECT_TRUE(client.final("r=abcd,s=c2FsdA==,i=1"));
  EXPECT_FALSE(client.final("r=abcd,s=c2FsdA==,i=1"));
}

}  // namespace
}  // namespace pgvigil::pgwire
