// The etcd adapter against real etcd members: what etcd does when it is asked, restarted, frozen or has no quorum.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <filesystem>
#include <optional>

#include "cluster/etcd_members.h"
#include "dcs/etcd/etcd_store.h"

namespace pgvigil::dcs {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::EtcdMembers;
using testing::EtcdSettings;

// gRPC ends a call at its deadline; this much later the answer has to be here, on a machine that is busy.
constexpr Duration kMargin = milliseconds(1500);
constexpr Duration kTokenLife = milliseconds(3500);  // of the tokens with ttl=2s; etcd counts whole seconds

class Client {
 public:
  explicit Client(EtcdOptions options)
      : clock_(make_system_clock(loop_.get_executor())), sink_(make_log_sink(only_critical())) {
    auto made = make_etcd_store(*clock_, Log(*sink_, "test"), std::move(options));
    EXPECT_TRUE(made) << made.error().message();
    if (made) store_ = std::move(*made);
  }

  // Runs the loop until the task has ended; also says whether the deadline that it was given was kept.
  template <class Call>
  auto operator()(Duration within, Call call) {
    using Value = typename decltype(call(*store_, TimePoint()))::value_type;
    std::optional<Value> answer;
    const TimePoint deadline = clock_->now() + within;
    const auto run = [&]() -> Task<void> { answer = co_await call(*store_, deadline); };
    asio::co_spawn(loop_, run, asio::detached);
    loop_.restart();
    while (!answer && loop_.run_one() > 0) {
    }
    EXPECT_LT(clock_->now(), deadline + kMargin) << "the deadline was not kept";
    return std::move(*answer);
  }

  auto put(const std::string& key, const std::string& value, Duration within = seconds(5), LeaseId lease = {}) {
    return (*this)(within, [&](KvStore& store, TimePoint by) {
      Txn txn;
      txn.success.emplace_back(Put{key, value, lease});
      return store.txn(std::move(txn), by);
    });
  }
  auto range(const std::string& key, Duration within = seconds(5), Consistency consistency = Consistency::Linearizable,
             const std::string& range_end = {}) {
    return (*this)(
        within, [&, range_end](KvStore& store, TimePoint by) { return store.range(key, range_end, consistency, by); });
  }
  std::optional<std::string> get(const std::string& key, Duration within = seconds(5)) {
    auto answer = range(key, within);
    EXPECT_TRUE(answer) << answer.error().message();
    if (!answer || answer->kvs.empty()) return std::nullopt;
    return answer->kvs.front().value;
  }
  auto grant(seconds ttl, Duration within = seconds(5)) {
    return (*this)(within, [&](KvStore& store, TimePoint by) { return store.lease_grant(ttl, by); });
  }
  auto keepalive(LeaseId lease, Duration within = seconds(5)) {
    return (*this)(within, [&](KvStore& store, TimePoint by) { return store.lease_keepalive(lease, by); });
  }

  // Runs the loop until the condition holds; false at the end of the time.
  template <class Condition>
  bool wait(Duration within, Condition condition) {
    const TimePoint deadline = clock_->now() + within;
    bool late = false;
    const auto timer = clock_->call_at(deadline, [&] { late = true; });
    loop_.restart();
    while (!condition() && !late && loop_.run_one() > 0) {
    }
    clock_->cancel(timer);
    return condition();
  }
  // For what only time brings about: the end of a token's life.
  void pass(Duration length) {
    wait(length, [] { return false; });
  }
  KvStore& store() { return *store_; }

 private:
  static LogSettings only_critical() {
    LogSettings settings;
    settings.level = LogLevel::Critical;
    return settings;
  }

  asio::io_context loop_;
  std::unique_ptr<Clock> clock_;
  std::unique_ptr<LogSink> sink_;
  std::unique_ptr<KvStore> store_;
};

// What a watch has told.
struct Watching {
  Watching(Client& client, Revision start) {
    WatchHandler handler;
    handler.on_events = [this](Revision revision, std::vector<WatchEvent> events) {
      reached = std::max(reached, revision);
      for (const auto& event : events) values.push_back(event.deleted ? "-" : event.kv.value);
    };
    handler.on_lost = [this](Error why) { lost = std::move(why); };
    watch = client.store().watch("/w/", "/w0", start, std::move(handler));
  }
  std::unique_ptr<Watch> watch;
  Revision reached;
  std::vector<std::string> values;
  std::optional<Error> lost;
};

EtcdOptions plain(const EtcdMembers& etcd) {
  EtcdOptions options;
  options.endpoints = etcd.endpoints();
  return options;
}

EtcdOptions only(const EtcdMembers& etcd, int member) {
  EtcdOptions options;
  options.endpoints = {etcd.endpoint(member)};
  options.discover_members = false;
  return options;
}

Compare absent(const std::string& key) { return {key, Compare::Target::CreateRevision, 0, {}}; }
Compare equals(const std::string& key, const std::string& value) { return {key, Compare::Target::Value, 0, value}; }

TEST(EtcdKv, WritesReadsAndCompares) {
  EtcdMembers etcd(EtcdSettings{});
  Client client(plain(etcd));
  const auto written = client.put("/k/a", "1");
  ASSERT_EQ(written.outcome, WriteOutcome::Applied);
  ASSERT_EQ(client.put("/k/b", "2").outcome, WriteOutcome::Applied);
  ASSERT_EQ(client.put("/other", "3").outcome, WriteOutcome::Applied);
  const auto all = client.range("/k/", seconds(5), Consistency::Serializable, "/k0");
  ASSERT_TRUE(all);
  ASSERT_EQ(all->kvs.size(), 2U);
  EXPECT_EQ(all->kvs[0].key, "/k/a");
  EXPECT_EQ(all->kvs[0].create_revision, written.revision);
  EXPECT_EQ(all->kvs[0].mod_revision, written.revision);
  EXPECT_EQ(all->revision.value(), written.revision.value() + 2);

  const auto attempt = [&](Txn txn) {
    return client(seconds(5), [&](KvStore& store, TimePoint by) { return store.txn(txn, by); });
  };
  Txn acquire;
  acquire.compares = {absent("/k/a")};
  acquire.success = {Put{"/k/a", "stolen", {}}};
  EXPECT_EQ(attempt(acquire).outcome, WriteOutcome::Refused);
  EXPECT_EQ(client.get("/k/a"), "1");

  // The lock's own shape: by value, else by absence.
  Txn keep;
  keep.compares = {equals("/k/a", "nobody")};
  keep.success = {Put{"/k/a", "by value", {}}};
  keep.or_compares = {absent("/k/c")};
  keep.or_success = {Put{"/k/c", "by absence", {}}};
  const auto second = attempt(keep);
  EXPECT_EQ(second.outcome, WriteOutcome::Applied);
  EXPECT_TRUE(second.by_or_branch);
  EXPECT_EQ(client.get("/k/c"), "by absence");
  EXPECT_EQ(attempt(keep).outcome, WriteOutcome::Refused);

  Txn remove;
  remove.compares = {{"/k/a", Compare::Target::ModRevision, written.revision.value(), {}}};
  remove.success = {Delete{"/k/", "/k0"}};
  EXPECT_EQ(attempt(remove).outcome, WriteOutcome::Applied);
  EXPECT_EQ(client.get("/k/b"), std::nullopt);
  EXPECT_EQ(client.get("/other"), "3");
}

TEST(EtcdKv, LeasesEndAndAreTold) {
  EtcdMembers etcd(EtcdSettings{});
  Client client(plain(etcd));
  const auto lease = client.grant(seconds(3));
  ASSERT_TRUE(lease);
  ASSERT_EQ(client.put("/w/leased", "x", seconds(5), *lease).outcome, WriteOutcome::Applied);
  const auto kept = client.range("/w/leased");
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->kvs.front().lease, *lease);
  const auto left = client.keepalive(*lease);
  ASSERT_TRUE(left);
  EXPECT_EQ(*left, seconds(3));

  Watching watching(client, Revision(kept->revision.value() + 1));
  ASSERT_TRUE((client.wait(seconds(10), [&] { return !watching.values.empty(); }))) << "the lease did not end";
  EXPECT_THAT(watching.values, ::testing::ElementsAre("-"));
  const auto gone = client.keepalive(*lease);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, Errc::LeaseLost);
  const auto refused = client.put("/w/leased", "y", seconds(5), *lease);
  EXPECT_EQ(refused.outcome, WriteOutcome::Refused);
  ASSERT_TRUE(refused.error);
  EXPECT_EQ(refused.error->code, Errc::LeaseLost);

  const auto another = client.grant(seconds(60));
  ASSERT_TRUE(another);
  const auto revoked =
      client(seconds(5), [&](KvStore& store, TimePoint by) { return store.lease_revoke(*another, by); });
  EXPECT_TRUE(revoked);
  EXPECT_EQ(client.keepalive(*another).error().code, Errc::LeaseLost);
}

TEST(EtcdKv, TlsWithClientCertificates) {
  EtcdSettings settings;
  settings.tls = true;
  EtcdMembers etcd(settings);
  EtcdOptions options = plain(etcd);
  options.tls = true;
  options.ca_file = etcd.directory() + "/ca.crt";
  EtcdOptions known = options, stranger = options, wrong_authority = options, missing = options;
  known.cert_file = etcd.directory() + "/client.crt";
  known.key_file = etcd.directory() + "/client.key";
  Client client(known);
  EXPECT_EQ(client.put("/k", "over TLS").outcome, WriteOutcome::Applied);
  EXPECT_EQ(client.get("/k"), "over TLS");  // after discovery: the members' own https URLs work too

  stranger.cert_file = etcd.directory() + "/intruder.crt";
  stranger.key_file = etcd.directory() + "/intruder.key";
  EXPECT_FALSE(Client(stranger).range("/k", seconds(2)));
  EXPECT_FALSE(Client(options).range("/k", seconds(2))) << "no client certificate at all";
  wrong_authority.cert_file = known.cert_file;
  wrong_authority.key_file = known.key_file;
  wrong_authority.ca_file = etcd.directory() + "/stranger.crt";
  EXPECT_FALSE(Client(wrong_authority).range("/k", seconds(2)));
  EtcdOptions no_tls = plain(etcd);
  EXPECT_FALSE(Client(no_tls).range("/k", seconds(2)));

  missing.key_file = "/nowhere/client.key";
  asio::io_context loop;
  const auto clock = make_system_clock(loop.get_executor());
  const auto sink = make_log_sink({});
  const auto unreadable = make_etcd_store(*clock, Log(*sink, "test"), missing);
  ASSERT_FALSE(unreadable);
  EXPECT_EQ(unreadable.error().code, Errc::InvalidConfig);
  EXPECT_THAT(unreadable.error().message(), ::testing::HasSubstr("/nowhere/client.key"));
}

void enable_auth(EtcdMembers& etcd) {
  etcd.ctl({"user", "add", "root:root-secret"});
  etcd.ctl({"user", "grant-role", "root", "root"});
  etcd.ctl({"role", "add", "writers"});
  etcd.ctl({"role", "grant-permission", "writers", "--prefix=true", "readwrite", "/w/"});
  etcd.ctl({"user", "add", "pgvigil:secret"});
  etcd.ctl({"user", "grant-role", "pgvigil", "writers"});
  etcd.ctl({"auth", "enable"});
}

EtcdOptions as_user(const EtcdMembers& etcd, const char* password) {
  EtcdOptions options = plain(etcd);
  options.username = "pgvigil";
  options.password = Secret(password);
  return options;
}

TEST(EtcdKv, LogsInAndSaysWhenItMayNot) {
  EtcdMembers etcd(EtcdSettings{});
  Client early(as_user(etcd, "secret"));
  EXPECT_EQ(early.put("/w/early", "before authentication is enabled").outcome, WriteOutcome::Applied);
  enable_auth(etcd);
  EXPECT_EQ(early.put("/w/early", "and after").outcome, WriteOutcome::Applied);

  const auto wrong = Client(as_user(etcd, "guess")).range("/w/early");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, Errc::Unauthorized) << wrong.error().message();
  EXPECT_THAT(wrong.error().message(), ::testing::Not(::testing::HasSubstr("guess")));
  const auto nobody = Client(plain(etcd)).range("/w/early");
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().code, Errc::Unauthorized) << nobody.error().message();
  const auto elsewhere = early.range("/not-ours");
  ASSERT_FALSE(elsewhere);
  EXPECT_EQ(elsewhere.error().code, Errc::Unauthorized) << elsewhere.error().message();
  const auto refused = early.put("/not-ours", "x");
  EXPECT_EQ(refused.outcome, WriteOutcome::Refused);
}

// A member forgets its simple tokens when it restarts, and refuses them once users or roles were changed.
TEST(EtcdKv, LogsInAgainWhenItsTokenIsNoLongerTaken) {
  EtcdMembers etcd(EtcdSettings{});
  enable_auth(etcd);
  Client client(as_user(etcd, "secret"));
  ASSERT_EQ(client.put("/w/a", "1").outcome, WriteOutcome::Applied);
  etcd.kill(0);
  etcd.start(0);
  const auto lease = client.grant(seconds(30), seconds(10));
  ASSERT_TRUE(lease) << lease.error().message();
  EXPECT_TRUE(client.keepalive(*lease));
  EXPECT_EQ(client.get("/w/a"), "1");
  etcd.kill(0);
  etcd.start(0);
  // A write goes out once only; refused for its token it was not carried out, so it is sent again.
  ASSERT_TRUE(client.range("/w/a", seconds(10)));
  EXPECT_EQ(client.put("/w/a", "2").outcome, WriteOutcome::Applied);
}

TEST(EtcdKv, RenewsTokensThatExpireAndTokensOfAnOldAuthRevision) {
  EtcdSettings settings;
  std::string path = "/tmp/pgvigil-jwt-test-XXXXXX";
  const std::string keys = mkdtemp(path.data());
  ASSERT_EQ(testing::run_program({"/bin/sh", "-c",
                                  "cd $0 && openssl genrsa -out jwt.key 2048 && openssl rsa -in jwt.key -pubout -out "
                                  "jwt.pub",
                                  keys},
                                 keys + "/log"),
            0);
  settings.arguments = {"--auth-token",
                        "jwt,pub-key=" + keys + "/jwt.pub,priv-key=" + keys + "/jwt.key,sign-method=RS256,ttl=2s"};
  EtcdMembers etcd(settings);
  enable_auth(etcd);
  Client client(as_user(etcd, "secret"));
  auto written = client.put("/w/a", "1");
  ASSERT_EQ(written.outcome, WriteOutcome::Applied);
  const auto lease = client.grant(seconds(60));
  ASSERT_TRUE(lease);
  client.pass(kTokenLife);
  written = client.put("/w/a", "2");
  EXPECT_EQ(written.outcome, WriteOutcome::Applied) << (written.error ? written.error->message() : "");
  client.pass(kTokenLife);
  EXPECT_TRUE(client.keepalive(*lease));
  client.pass(kTokenLife);
  EXPECT_EQ(client.get("/w/a"), "2");

  // A change of users makes every token older than the revision of the authentication store.
  etcd.ctl({"--user", "root:root-secret", "user", "add", "another:secret"});
  written = client.put("/w/a", "3");
  EXPECT_EQ(written.outcome, WriteOutcome::Applied) << (written.error ? written.error->message() : "");

  // A watch that is begun with an expired token ends; the next read renews the token, and the next watch lives.
  client.pass(kTokenLife);
  Watching refused(client, Revision(written.revision.value() + 1));
  client.wait(seconds(3), [&] { return refused.lost.has_value(); });
  ASSERT_TRUE(client.range("/w/a"));
  Watching watching(client, Revision(written.revision.value() + 1));
  ASSERT_EQ(client.put("/w/a", "4").outcome, WriteOutcome::Applied);
  EXPECT_TRUE((client.wait(seconds(5), [&] { return !watching.values.empty(); })));
  EXPECT_THAT(watching.values, ::testing::ElementsAre("4"));
  std::filesystem::remove_all(keys);
}

TEST(EtcdKv, AWatchOfACompactedRevisionSaysSo) {
  EtcdMembers etcd(EtcdSettings{});
  Client client(plain(etcd));
  const auto first = client.put("/w/a", "1");
  const auto last = client.put("/w/a", "2");
  etcd.ctl({"compact", std::to_string(last.revision.value())});
  Watching late(client, first.revision);
  ASSERT_TRUE((client.wait(seconds(5), [&] { return late.lost.has_value(); })));
  EXPECT_EQ(late.lost->code, Errc::Compacted);
  Watching anew(client, last.revision);
  EXPECT_TRUE((client.wait(seconds(5), [&] { return !anew.values.empty(); })));
  EXPECT_THAT(anew.values, ::testing::ElementsAre("2"));
}

TEST(EtcdKv, AWatchResumesElsewhereWithoutAGapOrARepeat) {
  EtcdSettings settings;
  settings.members = 3;
  EtcdMembers etcd(settings);
  Client client(plain(etcd));
  const auto first = client.put("/w/a", "1");
  ASSERT_EQ(first.outcome, WriteOutcome::Applied);
  auto watching = std::make_unique<Watching>(client, first.revision);
  ASSERT_TRUE((client.wait(seconds(5), [&] { return watching->values.size() == 1; })));
  etcd.kill(0);  // the one in use
  ASSERT_TRUE((client.wait(seconds(10), [&] { return watching->lost.has_value(); })));
  EXPECT_NE(watching->lost->code, Errc::Compacted);
  // Written while nobody watches, through a member that has answered since: there may have been an election.
  Client another(only(etcd, 1));
  ASSERT_TRUE(another.range("/w/a", seconds(20)));
  ASSERT_EQ(another.put("/w/a", "2", seconds(10)).outcome, WriteOutcome::Applied);
  const Revision next(watching->reached.value() + 1);
  auto values = watching->values;
  watching = std::make_unique<Watching>(client, next);
  EXPECT_TRUE((client.wait(seconds(20), [&] { return !watching->values.empty() || watching->lost; })));
  ASSERT_FALSE(watching->lost) << watching->lost->message();
  values.insert(values.end(), watching->values.begin(), watching->values.end());
  EXPECT_THAT(values, ::testing::ElementsAre("1", "2"));
}

class EtcdFaults : public ::testing::Test {
 protected:
  static EtcdSettings three() {
    EtcdSettings settings;
    settings.members = 3;
    return settings;
  }
  EtcdMembers etcd{three()};
};

TEST_F(EtcdFaults, AKilledMemberIsLeftAtOnce) {
  Client client(plain(etcd));
  const auto lease = client.grant(seconds(30));
  ASSERT_TRUE(lease);
  etcd.kill(0);
  EXPECT_TRUE(client.keepalive(*lease, seconds(4)));
  EXPECT_TRUE(client.range("/k", seconds(4)));
  const auto written = client.put("/k", "1", seconds(4));
  EXPECT_EQ(written.outcome, WriteOutcome::Applied) << (written.error ? written.error->message() : "");
}

TEST_F(EtcdFaults, AFrozenMemberIsLeftWithinTheDeadline) {
  Client client(plain(etcd));
  const auto lease = client.grant(seconds(30));
  ASSERT_TRUE(lease);
  etcd.signal(0, SIGSTOP);
  const auto kept = client.keepalive(*lease, seconds(6));
  EXPECT_TRUE(kept) << kept.error().message();
  EXPECT_TRUE(client.range("/k", seconds(6)));
  EXPECT_EQ(client.put("/k", "1", seconds(6)).outcome, WriteOutcome::Applied);
  etcd.signal(0, SIGCONT);
}

// Nothing tells whether the frozen member has passed the write on: it is not sent twice, and it is not called refused.
TEST_F(EtcdFaults, AWriteToAFrozenMemberIsUnknown) {
  Client client(plain(etcd));
  ASSERT_EQ(client.put("/k", "0").outcome, WriteOutcome::Applied);
  etcd.signal(0, SIGSTOP);
  const auto written = client.put("/k", "1", seconds(3));
  EXPECT_EQ(written.outcome, WriteOutcome::Unknown);
  ASSERT_TRUE(written.error);
  EXPECT_EQ(written.error->code, Errc::Timeout);
  const auto again = client.put("/k", "2", seconds(6));
  EXPECT_EQ(again.outcome, WriteOutcome::Applied) << "the next one goes to another member";
  etcd.signal(0, SIGCONT);
}

TEST_F(EtcdFaults, WithoutQuorumEveryCallEndsByItsDeadline) {
  Client client(plain(etcd));
  ASSERT_EQ(client.put("/k", "0").outcome, WriteOutcome::Applied);
  const auto lease = client.grant(seconds(30));
  ASSERT_TRUE(lease);
  Watching watching(client, Revision(1));
  etcd.kill(1);
  etcd.kill(2);
  // Cut off from the quorum the member ends the watch: silence could otherwise be taken for peace.
  EXPECT_TRUE((client.wait(seconds(15), [&] { return watching.lost.has_value(); })));
  EXPECT_FALSE(client.range("/k", seconds(2)));
  EXPECT_FALSE(client.keepalive(*lease, seconds(2)));
  EXPECT_FALSE(client.grant(seconds(30), seconds(2)));
  EXPECT_NE(client.put("/k", "1", seconds(2)).outcome, WriteOutcome::Applied);
  etcd.start(1);
  const auto back = client.range("/k", seconds(20));
  ASSERT_TRUE(back) << back.error().message();
  EXPECT_EQ(client.put("/k", "2", seconds(10)).outcome, WriteOutcome::Applied);
  EXPECT_EQ(client.get("/k"), "2");
}

TEST_F(EtcdFaults, MembersThatNobodyNamedAreFound) {
  EtcdOptions options = plain(etcd);
  options.endpoints = {etcd.endpoint(1)};
  Client client(options);
  EtcdOptions fixed = only(etcd, 1);
  Client without(fixed);
  ASSERT_TRUE(client.range("/k"));
  ASSERT_TRUE(without.range("/k"));
  etcd.kill(1);
  EXPECT_TRUE(client.range("/k", seconds(5)));
  EXPECT_FALSE(without.range("/k", seconds(2)));
}

// A listener that takes connections and never says a word, as behind a broken load balancer.
TEST_F(EtcdFaults, ASilentEndpointCostsOnlyItsShareOfTheTime) {
  asio::io_context io;
  asio::ip::tcp::acceptor silent(io, {asio::ip::address_v4::loopback(), 0});
  EtcdOptions options;
  options.endpoints = {"127.0.0.1:" + std::to_string(silent.local_endpoint().port()), etcd.endpoint(0)};
  options.discover_members = false;
  Client client(options);
  const auto answer = client.range("/k", seconds(6));
  EXPECT_TRUE(answer) << answer.error().message();
  options.endpoints.pop_back();
  const auto none = Client(options).range("/k", seconds(2));
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().code, ::testing::AnyOf(Errc::Timeout, Errc::Unavailable)) << none.error().message();
}

}  // namespace
}  // namespace pgvigil::dcs

int main(int argc, char** argv) {
  ::testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
