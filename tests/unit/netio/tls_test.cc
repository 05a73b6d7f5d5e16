#include <openssl/err.h>
#include <openssl/ssl.h>

#include <filesystem>
#include <iterator>

#include "unit/netio/certificates.h"
#include "unit/netio/fixture.h"

namespace pgvigil::netio {
namespace {

const Certificates& certificates() {
  static const Certificates* const made = [] {
    auto* fresh = new Certificates;
    fresh->issue("server", "server.test", "DNS:server.test,DNS:*.wild.test,IP:127.0.0.1");
    fresh->issue("client", "alice", "");
    return fresh;
  }();
  return *made;
}

TlsSettings server_settings() {
  TlsSettings settings;
  settings.role = TlsSettings::Role::Server;
  settings.cert_file = certificates().path("server.crt");
  settings.key_file = certificates().path("server.key");
  settings.ca_file = certificates().authority();
  return settings;
}

TlsSettings client_settings() {
  TlsSettings settings;
  settings.role = TlsSettings::Role::Client;
  settings.ca_file = certificates().authority();
  settings.verify_peer = true;
  settings.verify_host = true;
  return settings;
}

TlsContextPtr context(const TlsSettings& settings) {
  auto made = make_tls_context(settings);
  if (!made) ADD_FAILURE() << made.error().message();
  return made ? *made : nullptr;
}

// The other end: the library itself over a blocking socket. Records leave in steps of `step` bytes.
class TlsPeer {
 public:
  TlsPeer(int fd, bool server) : fd_(fd) {
    context_ = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
    if (server) {
      SSL_CTX_use_certificate_chain_file(context_, certificates().path("server.crt").c_str());
      SSL_CTX_use_PrivateKey_file(context_, certificates().path("server.key").c_str(), SSL_FILETYPE_PEM);
    }
    ssl = SSL_new(context_);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    server ? SSL_set_accept_state(ssl) : SSL_set_connect_state(ssl);
  }
  TlsPeer(const TlsPeer&) = delete;
  TlsPeer& operator=(const TlsPeer&) = delete;
  ~TlsPeer() {
    SSL_free(ssl);
    SSL_CTX_free(context_);
  }

  // What the library has to say, not yet sent.
  std::string output() {
    std::string bytes(static_cast<std::size_t>(BIO_pending(SSL_get_wbio(ssl))), '\0');
    if (!bytes.empty()) BIO_read(SSL_get_wbio(ssl), bytes.data(), static_cast<int>(bytes.size()));
    return bytes;
  }
  void flush() {
    const std::string bytes = output();
    for (std::size_t at = 0; at < bytes.size(); at += step) {
      Peer::write_to(fd_, std::string_view(bytes).substr(at, step));
      if (between) between();
    }
  }
  bool fill() {
    char bytes[16384];
    const auto got = ::recv(fd_, bytes, std::min(sizeof bytes, step), 0);
    if (got <= 0) return false;
    BIO_write(SSL_get_rbio(ssl), bytes, static_cast<int>(got));
    return true;
  }
  bool handshake() {
    while (true) {
      const int result = SSL_do_handshake(ssl);
      const int error = SSL_get_error(ssl, result);
      flush();
      if (result == 1) return true;
      if (error != SSL_ERROR_WANT_READ || !fill()) return false;
    }
  }
  void write(std::string_view bytes) {
    SSL_write(ssl, bytes.data(), static_cast<int>(bytes.size()));
    flush();
  }
  std::string read(std::size_t size) {
    std::string got(size, '\0');
    std::size_t have = 0;
    while (have < size) {
      const int part = SSL_read(ssl, got.data() + have, static_cast<int>(size - have));
      if (part > 0) {
        have += static_cast<std::size_t>(part);
      } else if (SSL_get_error(ssl, part) != SSL_ERROR_WANT_READ || !fill()) {
        break;
      }
    }
    got.resize(have);
    return got;
  }

  SSL* ssl;
  std::size_t step = 65536;
  std::function<void()> between;

 private:
  int fd_;
  SSL_CTX* context_;
};

class TlsTest : public NetioTest {
 protected:
  void begin(const TlsContextPtr& with, const std::string& received = {}, const std::string& host = {}) {
    worker.on_loop([&] {
      recorder.stream = worker.loop->adopt(sockets.ours, recorder);
      recorder.stream->start_tls(with, received, host);
    });
  }
  void TearDown() override {
    worker.on_loop([&] { recorder.stream.reset(); });
  }
  void echo() {
    recorder.when_received = [this](const Slice& slice) { recorder.stream->send(slice); };
  }
  bool ended() {
    return worker.eventually([&] { return recorder.ends == 1; });
  }
  std::string error() {
    return worker.on_loop([&] { return recorder.stream->tls_error(); });
  }

  Sockets sockets;
  Peer peer{sockets.peer};
  Recorder recorder;
};

TEST_P(TlsTest, ServesAClient) {
  echo();
  begin(context(server_settings()));
  TlsPeer client(peer.fd(), false);
  ASSERT_TRUE(client.handshake());
  for (const std::size_t size : {5U, 16384U, 16385U, 1U, 300000U}) {
    std::string text(size, 'a');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i % 253);
    std::thread writer([&] { client.write(text); });
    writer.join();
    EXPECT_TRUE(client.read(size) == text) << size;
  }
  worker.on_loop([&] {
    EXPECT_EQ(recorder.tls_calls, 1);
    ASSERT_NE(recorder.stream->tls(), nullptr);
    const TlsInfo& info = *recorder.stream->tls();
    EXPECT_EQ(info.text, "TLSv1.3/TLS_AES_256_GCM_SHA384/ECDH=X25519");
    EXPECT_FALSE(info.alpn_offered);
    EXPECT_FALSE(info.peer_certificate);
    EXPECT_EQ(info.server_end_point.size(), 48U);  // signed with SHA-384
  });
  SSL_shutdown(client.ssl);
  client.flush();
  EXPECT_TRUE(ended());
  EXPECT_EQ(recorder.end_error, 0);
}

TEST_P(TlsTest, SurvivesBeingCutAtEveryByte) {
  echo();
  begin(context(server_settings()));
  TlsPeer client(peer.fd(), false);
  client.step = 1;
  client.between = [&] { worker.on_loop([] {}); };
  ASSERT_TRUE(client.handshake());
  client.write("cut into pieces");
  EXPECT_EQ(client.read(15), "cut into pieces");
}

TEST_P(TlsTest, DirectTlsBeginsWithWhatWasReceived) {
  TlsPeer client(peer.fd(), false);
  SSL_set_alpn_protos(client.ssl, reinterpret_cast<const unsigned char*>("\x03xyz\x0apostgresql"), 15);
  SSL_do_handshake(client.ssl);
  const std::string hello = client.output();
  const auto with = context(server_settings());
  // In three parts: given to start_tls(), and received after it.
  echo();
  begin(with, hello.substr(0, 40));
  peer.write(std::string_view(hello).substr(40, 60));
  worker.on_loop([] {});
  peer.write(std::string_view(hello).substr(100));
  ASSERT_TRUE(client.handshake());
  client.write("x");
  EXPECT_EQ(client.read(1), "x");
  worker.on_loop([&] {
    EXPECT_TRUE(recorder.stream->tls()->alpn_offered);
    EXPECT_EQ(recorder.stream->tls()->alpn, "postgresql");
  });
}

TEST_P(TlsTest, AnAnswerInPlainTextGoesOutBeforeTheHandshake) {
  const auto with = context(server_settings());
  recorder.when_received = [&](const Slice& slice) {
    if (slice.text() != "SSLRequest") return recorder.stream->send(slice);
    recorder.stream->send("S");
    recorder.stream->start_tls(with, {}, {});
    recorder.stream->send("first");  // waits for the handshake
  };
  worker.on_loop([&] { recorder.stream = worker.loop->adopt(sockets.ours, recorder); });
  peer.write("SSLRequest");
  ASSERT_EQ(peer.read(1), "S");
  TlsPeer client(peer.fd(), false);
  ASSERT_TRUE(client.handshake());
  EXPECT_EQ(client.read(5), "first");
}

TEST_P(TlsTest, RefusesOtherApplicationProtocols) {
  begin(context(server_settings()));
  TlsPeer client(peer.fd(), false);
  SSL_set_alpn_protos(client.ssl, reinterpret_cast<const unsigned char*>("\x08http/1.1"), 9);
  EXPECT_FALSE(client.handshake());
  EXPECT_STREQ(ERR_reason_error_string(ERR_peek_last_error()), "tlsv1 alert no application protocol");
  ERR_clear_error();
  EXPECT_TRUE(ended());
  EXPECT_EQ(recorder.end_error, EPROTO);
  EXPECT_EQ(recorder.tls_calls, 0);
  EXPECT_NE(error(), "");
}

TEST_P(TlsTest, EndsAHandshakeWithGarbage) {
  begin(context(server_settings()));
  peer.write("GET / HTTP/1.1\r\n\r\n and more of it that is certainly not TLS");
  EXPECT_TRUE(ended());
  EXPECT_EQ(recorder.end_error, EPROTO);
  EXPECT_EQ(error(), "TLS handshake failed: http request");
}

TEST_P(TlsTest, EndsAStreamWithGarbage) {
  begin(context(server_settings()));
  TlsPeer client(peer.fd(), false);
  ASSERT_TRUE(client.handshake());
  client.write("good");
  peer.write(std::string(100, '\x17'));
  EXPECT_TRUE(ended());
  EXPECT_EQ(recorder.end_error, EPROTO);
  EXPECT_EQ(recorder.bytes, "good");
  worker.on_loop([&] { recorder.stream->send("into the void"); });
  worker.on_loop([&] { EXPECT_EQ(recorder.stream->unsent(), 0U); });
}

TEST_P(TlsTest, AsksForCertificatesAndChecksThem) {
  TlsSettings settings = server_settings();
  settings.verify_peer = true;
  begin(context(settings));
  {
    TlsPeer client(peer.fd(), false);
    client.handshake();  // TLS 1.3: the client learns of the refusal only afterwards
    EXPECT_EQ(client.read(1), "");
    ERR_clear_error();
  }
  EXPECT_TRUE(ended());
  EXPECT_EQ(error(), "TLS handshake failed: peer did not return a certificate");
}

TEST_P(TlsTest, KnowsTheClientsCertificate) {
  TlsSettings settings = server_settings();
  settings.verify_peer = true;
  begin(context(settings));
  TlsPeer client(peer.fd(), false);
  SSL_use_certificate_file(client.ssl, certificates().path("client.crt").c_str(), SSL_FILETYPE_PEM);
  SSL_use_PrivateKey_file(client.ssl, certificates().path("client.key").c_str(), SSL_FILETYPE_PEM);
  ASSERT_TRUE(client.handshake());
  ASSERT_TRUE(worker.eventually([&] { return recorder.tls_calls == 1; }));
  worker.on_loop([&] {
    const TlsInfo& info = *recorder.stream->tls();
    EXPECT_TRUE(info.peer_certificate);
    EXPECT_EQ(info.peer_common_name, "alice");
    EXPECT_TRUE(certificate_names(info, "Alice"));
    EXPECT_FALSE(certificate_names(info, "bob"));
  });
}

TEST_P(TlsTest, IsAClient) {
  for (const std::string host : {"server.test", "a.wild.test", "127.0.0.1"}) {
    Sockets pair;
    Peer other(pair.peer);
    Recorder one;
    std::string name;
    std::string got;
    std::thread answering([&] {
      TlsPeer server(other.fd(), true);
      if (!server.handshake()) return;
      const char* sni = SSL_get_servername(server.ssl, TLSEXT_NAMETYPE_host_name);
      name = sni == nullptr ? "" : sni;
      got = server.read(4);
      server.write("pong");
    });
    worker.on_loop([&] {
      one.stream = worker.loop->adopt(pair.ours, one);
      one.stream->start_tls(context(client_settings()), {}, host);
      one.stream->send("ping");
    });
    EXPECT_TRUE(worker.eventually([&] { return one.bytes == "pong"; })) << one.stream->tls_error();
    answering.join();
    EXPECT_EQ(got, "ping");
    EXPECT_EQ(name, host == "127.0.0.1" ? "" : host);
    worker.on_loop([&] {
      EXPECT_EQ(one.stream->tls()->server_end_point.size(), 48U);
      EXPECT_TRUE(certificate_names(*one.stream->tls(), "SERVER.test"));
      EXPECT_TRUE(certificate_names(*one.stream->tls(), "b.wild.test"));
      EXPECT_FALSE(certificate_names(*one.stream->tls(), "c.b.wild.test"));
      one.stream.reset();
    });
  }
}

TEST_P(TlsTest, RefusesAServerOfAnotherName) {
  std::thread answering([&] {
    TlsPeer server(peer.fd(), true);
    server.handshake();
    server.read(1);
    ERR_clear_error();
  });
  begin(context(client_settings()), {}, "other.test");
  EXPECT_TRUE(ended());
  EXPECT_EQ(error(), "TLS handshake failed: certificate verify failed, hostname mismatch");
  worker.on_loop([&] { recorder.stream.reset(); });
  answering.join();
}

TEST_P(TlsTest, TwoLoopStreamsTalkInEveryProtocolAllowed) {
  for (const std::string protocol : {"tlsv1.2", "tlsv1.3"}) {
    TlsSettings one = server_settings();
    one.protocols = protocol;
    one.ecdh_curve = "prime256v1";
    Sockets pair;
    Recorder server;
    Recorder client;
    server.when_received = [&](const Slice& slice) { server.stream->send(slice); };
    const std::string text(2'000'000, 'z');
    worker.on_loop([&] {
      server.stream = worker.loop->adopt(pair.ours, server);
      client.stream = worker.loop->adopt(pair.peer, client);
      server.stream->start_tls(context(one), {}, {});
      client.stream->start_tls(context(client_settings()), {}, "server.test");
      client.stream->send(text);
    });
    EXPECT_TRUE(worker.eventually([&] { return client.bytes.size() == text.size(); }));
    EXPECT_TRUE(client.bytes == text);
    worker.on_loop([&] {
      EXPECT_EQ(server.stream->tls()->text, protocol == "tlsv1.3"
                                                ? "TLSv1.3/TLS_AES_256_GCM_SHA384/ECDH=prime256v1"
                                                : "TLSv1.2/ECDHE-ECDSA-AES256-GCM-SHA384/ECDH=prime256v1");
      EXPECT_EQ(client.stream->tls()->text, server.stream->tls()->text);
      EXPECT_EQ(client.stream->tls()->server_end_point, server.stream->tls()->server_end_point);
      server.stream->send("last words");
      server.stream.reset();
    });
    EXPECT_TRUE(worker.eventually([&] { return client.ends == 1; }));
    EXPECT_EQ(client.end_error, 0);
    EXPECT_EQ(client.bytes.substr(text.size()), "last words");
    worker.on_loop([&] { client.stream.reset(); });
  }
}

TEST_P(TlsTest, CloseStillSendsAllThatWaitsToBeEncrypted) {
  begin(context(server_settings()));
  TlsPeer client(peer.fd(), false);
  ASSERT_TRUE(client.handshake());
  const std::string text(1'000'000, 'w');
  worker.on_loop([&] {
    recorder.stream->send(text);
    recorder.stream.reset();
  });
  EXPECT_TRUE(client.read(text.size()) == text);
  EXPECT_EQ(client.read(1), "");
  EXPECT_EQ(SSL_get_shutdown(client.ssl), SSL_RECEIVED_SHUTDOWN);
}

TEST_P(TlsTest, AStreamMayBeClosedInOnTls) {
  recorder.when_tls = [&] {
    recorder.stream->send("bye");
    recorder.stream.reset();
  };
  begin(context(server_settings()));
  TlsPeer client(peer.fd(), false);
  ASSERT_TRUE(client.handshake());
  EXPECT_EQ(client.read(10), "bye");
}

TEST_P(TlsTest, MovesToAnotherLoop) {
  LoopThread other(GetParam());
  echo();
  begin(context(server_settings()));
  TlsPeer client(peer.fd(), false);
  ASSERT_TRUE(client.handshake());
  client.write("before");
  EXPECT_EQ(client.read(6), "before");
  std::promise<Detached> moved;
  worker.on_loop(
      [&] { recorder.stream.release()->detach([&](Detached state) { moved.set_value(std::move(state)); }); });
  auto state = moved.get_future().get();
  client.write("meanwhile");
  other.on_loop([&] { recorder.stream = other.loop->adopt(std::move(state), recorder); });
  EXPECT_EQ(client.read(9), "meanwhile");
  client.write("after");
  EXPECT_EQ(client.read(5), "after");
  other.on_loop([&] {
    EXPECT_NE(recorder.stream->tls(), nullptr);
    recorder.stream.reset();
  });
}

TEST_P(TlsTest, KeepsWhatWasDecryptedWhilePaused) {
  begin(context(server_settings()));
  TlsPeer client(peer.fd(), false);
  ASSERT_TRUE(client.handshake());
  ASSERT_TRUE(worker.eventually([&] { return recorder.tls_calls == 1; }));
  worker.on_loop([&] { recorder.stream->pause(); });
  client.write("one ");
  client.write("two");
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  worker.on_loop([&] {
    EXPECT_EQ(recorder.bytes, "");
    recorder.stream->resume();
  });
  EXPECT_TRUE(worker.eventually([&] { return recorder.bytes == "one two"; }));
}

// Peers that leave at any moment of a handshake, with and without reading, while the stream sends.
TEST_P(TlsTest, PeersThatBreakOffLeaveNothingBehind) {
  const auto descriptors = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
  };
  const auto with = context(server_settings());
  const auto before = descriptors();
  std::string hello;
  {
    TlsPeer client(-1, false);
    SSL_do_handshake(client.ssl);
    hello = client.output();
  }
  for (std::size_t i = 0; i < 120; ++i) {
    Sockets pair;
    Peer other(pair.peer);
    Recorder one;
    one.when_end = [&] { one.stream.reset(); };
    one.when_tls = [&] { one.stream->send(std::string(300'000, 'x')); };
    worker.on_loop([&] {
      one.stream = worker.loop->adopt(pair.ours, one);
      one.stream->start_tls(with, {}, {});
      if (i % 3 == 0) one.stream->send("waits for the handshake");
    });
    if (i % 4 == 0) {
      TlsPeer client(other.fd(), false);
      ASSERT_TRUE(client.handshake());
      if (i % 8 == 0) {
        EXPECT_EQ(client.read(1), i % 3 == 0 ? "w" : "x");
      }
    } else {
      other.write(std::string_view(hello).substr(0, i * hello.size() / 100));
      if (i % 5 == 0) other.write(std::string(i * 10, static_cast<char>(i)));
    }
    other.close();
    EXPECT_TRUE(worker.eventually([&] { return one.stream == nullptr; })) << i;
  }
  EXPECT_TRUE(worker.eventually([&] { return descriptors() == before; }));
}

INSTANTIATE_TEST_SUITE_P(Backends, TlsTest, testing::Values(Backend::Uring, Backend::Epoll), backend_name);

TEST(TlsContext, NamesFileSettingAndReason) {
  TlsSettings settings = server_settings();
  settings.cert_file = "/nowhere/server.crt";
  EXPECT_EQ(make_tls_context(settings).error().message(),
            "cannot use client_tls_cert_file /nowhere/server.crt: No such file or directory");
  settings = server_settings();
  settings.key_file = certificates().path("client.key");
  EXPECT_EQ(make_tls_context(settings).error().message().substr(0, 27), "cannot use client_tls_key_f");
  settings = server_settings();
  settings.ca_file = certificates().path("server.key");
  EXPECT_FALSE(make_tls_context(settings));
  settings = server_settings();
  settings.key_file.clear();
  EXPECT_FALSE(make_tls_context(settings));
}

TEST(TlsContext, TakesPgBouncersNames) {
  for (const char* good :
       {"secure", "all", "default", "tlsv1.2", "tlsv1.2,tlsv1.3", "all:!tlsv1.0", "TLSv1.3", "tlsv1.0"}) {
    TlsSettings settings = server_settings();
    settings.protocols = good;
    EXPECT_TRUE(make_tls_context(settings)) << good;
  }
  for (const char* bad : {"legacy", "", "!all", "tlsv1.4", "secure,!secure"}) {
    TlsSettings settings = server_settings();
    settings.protocols = bad;
    EXPECT_FALSE(make_tls_context(settings)) << bad;
  }
  TlsSettings settings = server_settings();
  settings.ciphers = "no-such-cipher";
  EXPECT_FALSE(make_tls_context(settings));
  settings = server_settings();
  settings.ciphers13 = "TLS_NO_SUCH";
  EXPECT_FALSE(make_tls_context(settings));
  settings = server_settings();
  settings.ecdh_curve = "curve";
  EXPECT_FALSE(make_tls_context(settings));
  settings = server_settings();
  settings.dh_params = "legacy";
  EXPECT_FALSE(make_tls_context(settings));
  settings = server_settings();
  settings.ciphers = "fast";
  settings.ecdh_curve = "none";
  settings.dh_params = "none";
  EXPECT_TRUE(make_tls_context(settings));
}

}  // namespace
}  // namespace pgvigil::netio
