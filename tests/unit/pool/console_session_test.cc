// The protocol of a console session over a stream of the test's own.
#include "pool/console_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pgwire/messages.h"

namespace pgvigil::pool {
namespace {

class FakeStream final : public netio::Stream {
 public:
  explicit FakeStream(std::string& sent, bool& closed) : sent_(sent), closed_(closed) {}
  [[nodiscard]] int fd() const override { return -1; }
  void set_handler(netio::StreamHandler&) override {}
  void send(std::string_view bytes) override { sent_ += bytes; }
  void send(const netio::Slice& slice) override { sent_ += slice.text(); }
  [[nodiscard]] std::size_t unsent() const override { return unsent_; }
  void pause() override { paused_ = true; }
  void resume() override { paused_ = false; }
  [[nodiscard]] bool paused() const override { return paused_; }
  void start_tls(netio::TlsContextPtr, std::string_view, const std::string&) override {}
  [[nodiscard]] const netio::TlsInfo* tls() const override { return nullptr; }
  [[nodiscard]] std::string tls_error() const override { return {}; }
  void detach(std::function<void(netio::Detached)>) override {}
  std::size_t unsent_ = 0;

 private:
  ~FakeStream() override = default;
  void close() override {
    closed_ = true;
    delete this;
  }
  std::string& sent_;
  bool& closed_;
  bool paused_ = false;
};

// Message types, with what a reader looks at: "T D:value C:SHOW Z:I", "E:ERROR text".
std::string summary(std::string_view bytes) {
  std::string text;
  while (bytes.size() >= pgwire::kHeaderBytes) {
    const std::size_t length = pgwire::load32(bytes.data() + 1);
    const std::string_view body = bytes.substr(pgwire::kHeaderBytes, length - 4);
    text += (text.empty() ? "" : " ") + std::string(1, bytes[0]);
    if (bytes[0] == 'Z') text += ":" + std::string(body);
    if (bytes[0] == 'C') text += ":" + std::string(body.substr(0, body.size() - 1));
    if (bytes[0] == 'D') text += ":" + std::string(body.substr(6));
    if (bytes[0] == 'E' || bytes[0] == 'N') {
      const auto fields = pgwire::parse_error_fields(body);
      text += ":" + fields.severity + " " + fields.message;
    }
    bytes.remove_prefix(1 + length);
  }
  return text;
}

std::string with_type(char type, const std::function<void(pgwire::MessageWriter&)>& fill) {
  std::string out;
  {
    pgwire::MessageWriter message(out, type);
    fill(message);
  }
  return out;
}
std::string query(std::string_view text) {
  std::string out;
  pgwire::query(out, text);
  return out;
}
std::string sync() {
  std::string out;
  pgwire::sync(out);
  return out;
}
std::string parse(std::string_view name, std::string_view text) {
  return with_type('P', [&](auto& m) { m.cstring(name).cstring(text).int16(0); });
}
std::string bind(std::string_view portal, std::string_view name, std::uint16_t parameters = 0) {
  return with_type('B', [&](auto& m) {
    m.cstring(portal).cstring(name).int16(0).int16(parameters);
    if (parameters == 0) m.int16(0);
  });
}
std::string describe(char kind, std::string_view name) {
  return with_type('D', [&](auto& m) { m.byte(static_cast<std::uint8_t>(kind)).cstring(name); });
}
std::string execute(std::string_view portal, std::uint32_t limit = 0) {
  return with_type('E', [&](auto& m) { m.cstring(portal).int32(limit); });
}

class ConsoleSessionTest : public ::testing::Test, public ConsoleHost {
 protected:
  void SetUp() override { session->start(netio::StreamPtr(stream = new FakeStream(sent, closed)), "", ""); }
  ~ConsoleSessionTest() override {
    if (!closed) session->close("end", false);
  }
  void run(ConsoleSession&, const ConsoleCommand& command, std::string_view text, ReplyTo done) override {
    asked.emplace_back(text);
    if (later) {
      waiting = std::move(done);
      return;
    }
    if (command.kind != ConsoleCommand::Kind::Command) return done(ConsoleReply::failed("invalid"));
    ConsoleReply reply = ConsoleReply::done("SHOW");
    reply.columns = &columns;
    reply.rows = {{"a"}, {"b"}, {"c"}};
    if (command.name == "help") reply.notices.push_back({"Console usage", "all of it"});
    done(std::move(reply));
  }
  const Columns* columns_of(const ConsoleCommand& command) override {
    return command.name == "show" ? &columns : nullptr;
  }
  void ended(ConsoleSession&, const std::string& reason) override { reasons.push_back(reason); }

  std::string receive(const std::string& bytes) {
    session->on_received(netio::Slice{{}, bytes.data(), bytes.size()});
    return taken();
  }
  std::string taken() { return summary(std::exchange(sent, {})); }

  const Columns columns = {{"x", pgwire::kText}};
  std::string sent;
  bool closed = false, later = false;
  ReplyTo waiting;
  std::vector<std::string> asked, reasons;
  FakeStream* stream = nullptr;
  std::shared_ptr<ConsoleSession> session = std::make_shared<ConsoleSession>(*this);
};

TEST_F(ConsoleSessionTest, AnswersASimpleQuery) {
  EXPECT_EQ(receive(query("show x")), "T D:a D:b D:c C:SHOW Z:I");
  EXPECT_EQ(receive(query("help")), "N:NOTICE Console usage T D:a D:b D:c C:SHOW Z:I");
  EXPECT_EQ(receive(query("what ?")), "E:ERROR invalid Z:I");
  EXPECT_EQ(asked, (std::vector<std::string>{"show x", "help", "what ?"}));
}

TEST_F(ConsoleSessionTest, ReadsMessagesHoweverTheyAreCut) {
  const std::string bytes = query("show x") + query("show y");
  std::string answers;
  for (const char c : bytes) answers += receive(std::string(1, c));
  EXPECT_EQ(answers, "T D:a D:b D:c C:SHOW Z:IT D:a D:b D:c C:SHOW Z:I");
}

TEST_F(ConsoleSessionTest, ReadsNoFurtherCommandWhileOneWaits) {
  later = true;
  EXPECT_EQ(receive(query("pause") + query("show x")), "");
  EXPECT_TRUE(session->waits());
  EXPECT_EQ(asked.size(), 1U);
  later = false;
  waiting(ConsoleReply::done("PAUSE"));
  EXPECT_EQ(taken(), "C:PAUSE Z:I T D:a D:b D:c C:SHOW Z:I");
  EXPECT_EQ(asked.size(), 2U);
}

TEST_F(ConsoleSessionTest, AnAnswerAfterItsEndIsDropped) {
  later = true;
  receive(query("pause"));
  session->on_end(0);
  EXPECT_TRUE(closed);
  waiting(ConsoleReply::done("PAUSE"));
  EXPECT_EQ(sent, "");
  EXPECT_EQ(reasons, std::vector<std::string>{"client unexpected eof"});
}

TEST_F(ConsoleSessionTest, HoldsABoundedAmountWhileACommandWaits) {
  later = true;
  receive(query("pause"));
  receive(std::string(70000, 'x'));
  EXPECT_TRUE(stream->paused());
}

TEST_F(ConsoleSessionTest, WaitsForAClientThatDoesNotRead) {
  stream->unsent_ = netio::kHighWater + 1;
  EXPECT_EQ(receive(query("show x")), "");
  stream->unsent_ = 0;
  session->on_room();
  EXPECT_EQ(taken(), "T D:a D:b D:c C:SHOW Z:I");
}

TEST_F(ConsoleSessionTest, RunsWhatComesAfterAReply) {
  later = true;
  receive(query("shutdown wait_for_clients"));
  bool ran = false;
  ConsoleReply reply = ConsoleReply::done("SHUTDOWN");
  reply.after = [&] { ran = summary(sent) == "C:SHUTDOWN Z:I"; };
  waiting(std::move(reply));
  EXPECT_TRUE(ran) << "the reply goes first";
}

TEST_F(ConsoleSessionTest, ASilentReplySendsNothing) {
  later = true;
  receive(query("shutdown"));
  ConsoleReply reply;
  reply.silent = true;
  waiting(std::move(reply));
  EXPECT_EQ(sent, "");
}

TEST_F(ConsoleSessionTest, EndsOnTerminateWithoutAWord) {
  EXPECT_EQ(receive(with_type('X', [](auto&) {})), "");
  EXPECT_TRUE(closed);
  EXPECT_EQ(reasons, std::vector<std::string>{"client close request"});
}

TEST_F(ConsoleSessionTest, EndsOnMessagesThatAreNotForIt) {
  EXPECT_EQ(receive(with_type('F', [](auto&) {})),
            "E:ERROR unsupported packet type for admin console: 70 E:FATAL bad packet");
  EXPECT_TRUE(closed);
}

TEST_F(ConsoleSessionTest, EndsOnLengthsThatCannotBe) {
  EXPECT_EQ(receive(std::string("Q\0\0\0\3", 5)), "E:FATAL bad packet header");
}

TEST_F(ConsoleSessionTest, EndsOnACommandThatIsTooLong) {
  EXPECT_EQ(receive(query(std::string(20000, 'a')).substr(0, 100)), "E:FATAL incomplete pkt");
}

TEST_F(ConsoleSessionTest, AnswersTheExtendedProtocol) {
  EXPECT_EQ(receive(parse("", "show x") + bind("", "") + describe('P', "") + execute("") + sync()),
            "1 2 T D:a D:b D:c C:SHOW Z:I");
  EXPECT_EQ(receive(parse("s", "show x") + describe('S', "s") + sync()), "1 t T Z:I");
  EXPECT_EQ(receive(bind("", "s") + execute("", 2) + execute("", 2) + sync()), "2 D:a D:b s D:c C:SHOW Z:I");
  EXPECT_EQ(receive(parse("r", "reload") + describe('S', "r") + sync()), "1 t n Z:I");
  EXPECT_EQ(receive(with_type('C', [](auto& m) { m.byte('S').cstring("s"); }) + sync()), "3 Z:I");
}

TEST_F(ConsoleSessionTest, SkipsToSyncAfterAnError) {
  EXPECT_EQ(receive(parse("", "what ?") + bind("", "") + execute("") + execute("") + sync()),
            "1 2 E:ERROR invalid Z:I");
  EXPECT_EQ(receive(bind("", "none") + execute("") + sync()), "E:ERROR prepared statement did not exist Z:I");
  EXPECT_EQ(receive(bind("", "", 1) + sync()), "E:ERROR commands of the admin console have no parameters Z:I");
  EXPECT_EQ(receive(execute("") + sync()), "E:ERROR portal did not exist Z:I") << "portals end with Sync";
  EXPECT_EQ(receive(with_type('P', [](auto& m) { m.cstring("x"); }) + sync()), "E:ERROR broken Parse packet Z:I");
  EXPECT_EQ(receive(parse("n", "show x") + parse("n", "show x") + sync()),
            "1 E:ERROR prepared statement name is already in use Z:I");
}

TEST_F(ConsoleSessionTest, AnExtendedCommandMayAnswerLater) {
  later = true;
  EXPECT_EQ(receive(parse("", "pause") + bind("", "") + execute("") + sync()), "1 2");
  waiting(ConsoleReply::done("PAUSE"));
  EXPECT_EQ(taken(), "C:PAUSE Z:I");
}

TEST_F(ConsoleSessionTest, BoundsItsStatements) {
  std::string bytes;
  for (int i = 0; i < 101; ++i) bytes += parse("s" + std::to_string(i), "show x");
  EXPECT_THAT(receive(bytes), ::testing::HasSubstr("E:ERROR too many prepared statements"));
}

}  // namespace
}  // namespace pgvigil::pool
