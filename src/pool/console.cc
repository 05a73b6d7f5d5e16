#include "pool/console.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <vector>

#include "pgwire/messages.h"
#include "pool/console_commands.h"
#include "pool/console_session.h"
#include "pool/pool_statistics.h"
#include "pool/show.h"

namespace pgvigil::pool {
namespace {

std::string key_bytes(std::uint64_t key) {
  std::string bytes(8, '\0');
  pgwire::store32(bytes.data(), static_cast<std::uint32_t>(key >> 32));
  pgwire::store32(bytes.data() + 4, static_cast<std::uint32_t>(key));
  return bytes;
}

// Drivers read a version, encodings and the like from every server before they send anything.
std::string welcome(const ConsoleStart& start, const TrackedNames& tracked) {
  std::vector<std::pair<std::string, std::string>> values = {
      {"server_version", "1.25.2/bouncer"},
      {"client_encoding", "UTF8"},
      {"server_encoding", "UTF8"},
      {"DateStyle", "ISO"},
      {"TimeZone", "GMT"},
      {"standard_conforming_strings", "on"},
      {"is_superuser", "on"},
  };
  for (std::size_t i = 0; start.parameters && i < start.parameters->size(); ++i) {
    const auto& own = start.parameters->at(i);
    if (!own) continue;
    const std::string& name = tracked.all()[i];
    const auto known =
        std::find_if(values.begin(), values.end(), [&](const auto& value) { return value.first == name; });
    if (known != values.end()) {
      known->second = *own;
    } else {
      values.emplace_back(name, *own);
    }
  }
  std::string out;
  pgwire::authentication_ok(out);
  for (const auto& [name, value] : values) pgwire::parameter_status(out, name, value);
  pgwire::backend_key_data(out, key_bytes(start.cancel_key));
  pgwire::ready_for_query(out, 'I');
  return out;
}

class Console final : public ConsoleSessions, public ConsoleHost {
 public:
  explicit Console(Control& control) : control_(control) {}
  ~Console() override {
    // Sessions that a command still refers to learn that nobody is interested any more.
    for (auto& [key, open] : sessions_) pooler().cancels.remove(open.start.cancel_key);
  }

  void start(ConsoleStart start) override {
    auto session = std::make_shared<ConsoleSession>(*this);
    auto stream = control_.loop().adopt(std::exchange(start.stream, nullptr), *session);
    pooler().cancels.add(start.cancel_key, CancelIndex::Entry{});
    statistics().console.logins.add(1);
    const std::string greeting = welcome(start, pooler().tracked);
    std::string received = std::move(start.received);
    sessions_.emplace(session.get(), Open{session, std::move(start), TimePoint(), control_.loop().now()});
    statistics().console_sessions = sessions_.size();
    session->start(std::move(stream), greeting, std::move(received));
  }

  bool cancel(std::uint64_t key) override {
    const auto found = std::find_if(sessions_.begin(), sessions_.end(),
                                    [key](const auto& open) { return open.second.start.cancel_key == key; });
    if (found == sessions_.end()) return false;
    const bool stopped = pooler().paused || pooler().suspended;
    if (stopped && pooler().shutdown.load() == Shutdown::None) static_cast<void>(control_.resume(nullptr));
    return true;
  }

  [[nodiscard]] std::size_t count() const override { return sessions_.size(); }

  // --- ConsoleHost
  void run(ConsoleSession& session, const ConsoleCommand& command, std::string_view text, ReplyTo done) override {
    Open& open = sessions_.at(&session);
    open.query_started = open.last_activity = control_.loop().now();
    statistics().console.transactions.add(1);
    statistics().console.queries.add(1);
    const ConsoleCaller caller{open.start.admin, [this](Snapshot& snapshot) { add_sessions(snapshot); },
                               [this](std::uint64_t id) { return kill_session(id); }};
    run_console_command(control_, caller, command, text,
                        [this, key = &session, done = std::move(done)](ConsoleReply reply) {
                          if (const auto found = sessions_.find(key); found != sessions_.end()) {
                            found->second.query_started = TimePoint();
                          }
                          if (reply.error && pooler().config()->settings().log_pooler_errors != 0) {
                            pooler().log.put(Level::Warning, "{}pooler error: {}", name(key), reply.error->message);
                          }
                          done(std::move(reply));
                        });
  }

  const Columns* columns_of(const ConsoleCommand& command) override { return result_columns(command); }

  void ended(ConsoleSession& session, const std::string& reason) override {
    const auto found = sessions_.find(&session);
    if (found == sessions_.end()) return;
    if (pooler().config()->settings().log_disconnections != 0) {
      const auto age =
          std::chrono::duration_cast<std::chrono::seconds>(control_.loop().now() - found->second.start.connected_at);
      pooler().log.put(Level::Log, "{}closing because: {} (age={}s)", name(&session), reason, age.count());
    }
    pooler().cancels.remove(found->second.start.cancel_key);
    --pooler().client_count;  // the login counted its socket on
    // Its own methods may be on the stack.
    dead_.push_back(std::move(found->second.session));
    sessions_.erase(found);
    statistics().console_sessions = sessions_.size();
    if (!burial_due_) {
      burial_due_ = true;
      control_.loop().at_turn_end([this] {
        burial_due_ = false;
        dead_.clear();
      });
    }
  }

 private:
  struct Open {
    std::shared_ptr<ConsoleSession> session;
    ConsoleStart start;  // its stream is the session's
    TimePoint query_started, last_activity;
  };

  Pooler& pooler() { return control_.pooler(); }
  Statistics& statistics() { return control_.statistics(); }

  std::string name(const ConsoleSession* session) {
    const auto found = sessions_.find(session);
    if (found == sessions_.end()) return {};
    return fmt::format("C-0x{:x}: {}/{}@{} ", found->second.start.id, kConsoleName, found->second.start.user,
                       found->second.start.address.text());
  }

  void add_sessions(Snapshot& snapshot) {
    const auto index = pooler().tracked.find("application_name");
    for (const auto& [key, open] : sessions_) {
      ClientFact fact;
      fact.state = ClientFact::State::Active;
      fact.database = kConsoleName;
      fact.user = open.start.user;
      fact.address = open.start.address;
      fact.listen_port = static_cast<std::uint16_t>(snapshot.settings().listen_port);
      fact.connected_at = open.start.connected_at;
      fact.last_activity = open.last_activity;
      fact.query_started = open.query_started;
      fact.id = open.start.id;
      if (const netio::Stream* stream = open.session->stream()) {
        fact.unsent = stream->unsent();
        if (fact.address.address.kind != poolcfg::PeerAddress::Kind::Unix) fact.local = local_of(stream->fd());
        if (stream->tls() != nullptr) fact.tls = stream->tls()->text;
      }
      if (open.start.parameters && index) fact.application_name = open.start.parameters->at(*index).value_or("");
      snapshot.clients.push_back(std::move(fact));
    }
    std::sort(snapshot.clients.begin(), snapshot.clients.end(),
              [](const ClientFact& a, const ClientFact& b) { return a.id < b.id; });
  }

  bool kill_session(std::uint64_t id) {
    const auto found =
        std::find_if(sessions_.begin(), sessions_.end(), [id](const auto& open) { return open.second.start.id == id; });
    if (found == sessions_.end()) return false;
    // After the answer to whoever asked, who may be the victim.
    control_.loop().at_turn_end([session = std::weak_ptr(found->second.session)] {
      if (const auto alive = session.lock()) alive->close("admin forced disconnect");
    });
    return true;
  }

  Control& control_;
  std::unordered_map<const ConsoleSession*, Open> sessions_;
  std::vector<std::shared_ptr<ConsoleSession>> dead_;
  bool burial_due_ = false;
};

}  // namespace

std::unique_ptr<ConsoleSessions> make_console(Control& control) { return std::make_unique<Console>(control); }

}  // namespace pgvigil::pool
