// One session of the console: the protocol, without what the commands do. The simple query protocol as in PgBouncer;
// the extended one in addition, for drivers that know nothing else.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "netio/stream.h"
#include "pgwire/frame.h"
#include "pool/console_parser.h"
#include "pool/console_reply.h"

namespace pgvigil::pool {

class ConsoleSession;

// What a session needs of the console. run() answers once, now or later.
class ConsoleHost {
 public:
  virtual void run(ConsoleSession& session, const ConsoleCommand& command, std::string_view text, ReplyTo done) = 0;
  virtual const Columns* columns_of(const ConsoleCommand& command) = 0;
  // The session has closed its stream and does nothing any more; the host frees it, later.
  virtual void ended(ConsoleSession& session, const std::string& reason) = 0;

 protected:
  ~ConsoleHost() = default;
};

class ConsoleSession final : public netio::StreamHandler, public std::enable_shared_from_this<ConsoleSession> {
 public:
  explicit ConsoleSession(ConsoleHost& host) : host_(host) {}

  // The stream is this session's; `welcome` is sent, and `received` is what came behind the login.
  void start(netio::StreamPtr stream, std::string_view welcome, std::string received);
  // FATAL with the reason when there is something to tell the client.
  void close(const std::string& reason, bool tell = true);

  [[nodiscard]] bool waits() const { return busy_; }  // for a command's end
  [[nodiscard]] bool closed() const { return closed_; }
  [[nodiscard]] const netio::Stream* stream() const { return stream_.get(); }

  // --- netio::StreamHandler
  void on_received(netio::Slice bytes) override;
  void on_end(int error) override;
  void on_room() override;
  void on_tls() override {}

 private:
  struct Statement {
    std::string text;
    ConsoleCommand command;
  };
  struct Portal {
    Statement statement;
    Formats formats;
    bool run = false;
    ConsoleReply reply;
    std::size_t sent = 0;  // rows
  };
  static constexpr std::size_t kMessageMax = 16384;  // a command is a few words; PgBouncer's bound is pkt_buf
  static constexpr std::size_t kHeldMax = 65536;     // received while a command waits
  static constexpr std::size_t kObjectsMax = 100;    // statements, and portals, of a session

  void process();
  void message(char type, std::string_view body);
  void extended(char type, std::string_view body);
  void skip_until_sync(std::string_view message);
  void simple_query(std::string_view text);
  void parse(pgwire::BodyReader body);
  void bind(pgwire::BodyReader body);
  void describe(pgwire::BodyReader body);
  void execute(pgwire::BodyReader body);
  void close_object(pgwire::BodyReader body);
  void run(const Statement& statement, std::function<void(ConsoleSession&, ConsoleReply)> then);
  void answer_simple(ConsoleReply reply);
  void send_portal(Portal& portal, std::uint32_t limit);
  void notices(const ConsoleReply& reply);
  void flush();
  [[nodiscard]] bool next_message(char& type, std::string& body);

  ConsoleHost& host_;
  netio::StreamPtr stream_;
  std::string input_, output_;
  std::map<std::string, Statement, std::less<>> statements_;
  std::map<std::string, Portal, std::less<>> portals_;
  bool busy_ = false;      // a command has not answered yet
  bool in_loop_ = false;   // process() is on the stack
  bool skipping_ = false;  // an extended request failed: everything until Sync is dropped
  bool closed_ = false;
};

}  // namespace pgvigil::pool
