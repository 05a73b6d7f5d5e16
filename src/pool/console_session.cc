#include "pool/console_session.h"

#include "pgwire/messages.h"

namespace pgvigil::pool {

void ConsoleSession::start(netio::StreamPtr stream, std::string_view welcome, std::string received) {
  stream_ = std::move(stream);
  output_ += welcome;
  input_ = std::move(received);
  process();
}

void ConsoleSession::close(const std::string& reason, bool tell) {
  if (closed_) return;
  closed_ = true;
  if (tell) pgwire::error_response(output_, "FATAL", "08P01", reason);
  flush();
  stream_.reset();
  host_.ended(*this, reason);
}

void ConsoleSession::on_received(netio::Slice bytes) {
  if (closed_) return;
  input_ += bytes.text();
  process();
}

void ConsoleSession::on_end(int error) {
  static_cast<void>(error);
  close("client unexpected eof", false);
}

void ConsoleSession::on_room() { process(); }

void ConsoleSession::flush() {
  if (output_.empty() || !stream_) return;
  stream_->send(output_);
  output_.clear();
  if (output_.capacity() > kMessageMax) output_.shrink_to_fit();
}

bool ConsoleSession::next_message(char& type, std::string& body) {
  if (input_.size() < pgwire::kHeaderBytes) return false;
  const std::uint32_t length = pgwire::load32(input_.data() + 1);
  if (length < 4) {
    close("bad packet header");
    return false;
  }
  if (length > kMessageMax) {
    close("incomplete pkt");
    return false;
  }
  if (input_.size() < 1 + std::size_t{length}) return false;
  type = input_.front();
  body.assign(input_, pgwire::kHeaderBytes, length - 4);
  input_.erase(0, 1 + std::size_t{length});
  return true;
}

void ConsoleSession::process() {
  if (in_loop_) return;
  const auto self = shared_from_this();  // a command may end the session
  in_loop_ = true;
  char type = 0;
  std::string body;
  // A client that does not take its answers gets no further ones: that bounds what is held for it.
  while (!closed_ && !busy_ && stream_->unsent() <= netio::kHighWater && next_message(type, body)) {
    message(type, body);
    if (!closed_) flush();
  }
  in_loop_ = false;
  if (closed_) return;
  flush();
  const bool full = input_.size() > kHeldMax;
  if (full && !stream_->paused()) stream_->pause();
  if (!full && stream_->paused()) stream_->resume();
}

void ConsoleSession::message(char type, std::string_view body) {
  switch (type) {
    case 'X': return close("client close request", false);
    case 'Q':
      skipping_ = false;
      if (body.empty() || body.back() != '\0') return close("incomplete pkt");
      return simple_query(body.substr(0, body.find('\0')));
    case 'P':
    case 'B':
    case 'D':
    case 'E':
    case 'C':
    case 'H':
    case 'S': return extended(type, body);
    default:
      pgwire::error_response(
          output_, "ERROR", "08P01",
          "unsupported packet type for admin console: " + std::to_string(static_cast<unsigned char>(type)));
      close("bad packet");
  }
}

void ConsoleSession::run(const Statement& statement, std::function<void(ConsoleSession&, ConsoleReply)> then) {
  busy_ = true;
  const std::weak_ptr<ConsoleSession> weak = weak_from_this();
  host_.run(*this, statement.command, statement.text, [weak, then = std::move(then)](ConsoleReply reply) {
    const auto session = weak.lock();
    if (!session || session->closed_ || !session->busy_) return;
    session->busy_ = false;
    auto after = std::move(reply.after);
    if (!reply.silent) then(*session, std::move(reply));
    session->flush();
    if (after) after();
    session->process();  // what came meanwhile
  });
}

void ConsoleSession::notices(const ConsoleReply& reply) {
  for (const auto& notice : reply.notices) {
    pgwire::notice_response(output_, "NOTICE", "00000", notice.message, notice.detail);
  }
}

void ConsoleSession::simple_query(std::string_view text) {
  run({std::string(text), parse_console_command(text)},
      [](ConsoleSession& session, ConsoleReply reply) { session.answer_simple(std::move(reply)); });
}

void ConsoleSession::answer_simple(ConsoleReply reply) {
  if (reply.error) {
    pgwire::error_response(output_, "ERROR", reply.error->sqlstate, reply.error->message);
  } else {
    notices(reply);
    if (reply.columns != nullptr) {
      put_row_description(output_, *reply.columns, {});
      for (const auto& row : reply.rows) put_row(output_, *reply.columns, row, {});
    }
    pgwire::command_complete(output_, reply.tag);
  }
  pgwire::ready_for_query(output_, 'I');
}

}  // namespace pgvigil::pool
