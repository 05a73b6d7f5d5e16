// The follower over a key-value store in memory: what it publishes, its own key, and what it does without etcd.
#include "follow/follower.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

#include "dcs/member_json.h"
#include "support/memory_kv.h"

namespace pgvigil::follow {
namespace {

using pool::ClusterState;

class NullSink final : public LogSink {
 public:
  void write(LogLevel, std::string_view, std::string_view) override {}
  [[nodiscard]] bool enabled(LogLevel) const override { return false; }
};

class FollowerTest : public testing::Test {
 protected:
  FollowerTest() : clock(make_system_clock(loop.get_executor())), kv(*clock) {
    member("a", "primary");
    member("b", "replica");
    kv.put("/service/demo/leader", "a");
    FollowerOptions options;
    options.section.scope = "demo";
    options.section.local_socket = "off";
    options.self.name = "p1";
    options.self.listen = "here:6432";
    follower = std::make_unique<Follower>(
        *clock, kv, [this](std::string url, TimePoint) -> Task<Result<std::string>> { co_return answer(url); },
        Log(sink, "test"), std::move(options), [this](const ClusterState& state) { seen.push_back(state); });
    follower->start();
  }

  // Its coroutines end after stop(), when the loop runs.
  ~FollowerTest() override {
    bool ended = false;
    TaskGroup group(*clock);
    kv.silent = false;
    group.spawn(follower->stop(clock->now() + std::chrono::seconds(5)), [&] { ended = true; });
    until([&] { return ended; });
    loop.restart();
    loop.poll();
  }

  void member(const std::string& name, const std::string& role) {
    kv.put("/service/demo/members/" + name, R"({"conn_url":"postgres://)" + name +
                                                R"(:5432/postgres","api_url":"http://)" + name +
                                                R"(:8008/patroni","state":"running","role":")" + role + "\"}");
  }
  Result<std::string> answer(const std::string& url) {
    asked.push_back(url);
    if (document.empty()) return fail(Errc::Unavailable, "nobody answers", url);
    return document;
  }
  template <class Condition>
  void until(Condition condition) {
    const TimePoint deadline = clock->now() + std::chrono::seconds(20);
    while (!condition()) {
      if (clock->now() > deadline) {
        ADD_FAILURE() << "it did not happen";
        return;
      }
      loop.restart();
      loop.run_one_for(std::chrono::milliseconds(50));
    }
  }
  [[nodiscard]] Pooler own_key() const { return dcs::parse_pooler("p1", kv.value("/service/demo/poolers/p1")); }

  asio::io_context loop;
  NullSink sink;
  std::unique_ptr<Clock> clock;
  test::MemoryKv kv;
  std::unique_ptr<Follower> follower;
  std::vector<ClusterState> seen;
  std::vector<std::string> asked;
  std::string document;
};

TEST_F(FollowerTest, EachReignIsPublished) {
  until([&] { return !seen.empty() && seen.back().leader == MemberName("a"); });
  const Term first = seen.back().term;
  EXPECT_EQ(seen.back().members.size(), 2U);
  kv.erase("/service/demo/leader");
  until([&] { return seen.back().leader.empty(); });
  kv.put("/service/demo/leader", "a");
  until([&] { return seen.back().leader == MemberName("a"); });
  EXPECT_GT(seen.back().term, first);
}

TEST_F(FollowerTest, ALeaderWithoutAMemberKeyIsWhereItWas) {
  until([&] { return !seen.empty(); });
  kv.erase("/service/demo/members/a");
  until([&] { return seen.back().members.back().name == MemberName("a"); });
  EXPECT_EQ(seen.back().members.back().host, "a");
}

TEST_F(FollowerTest, ADrainRequestIsPassedOn) {
  until([&] { return !seen.empty(); });
  kv.put("/service/demo/drain", R"({"id":"d","reason":"restart","leader":"a","term":"5","timeout":2.5})");
  until([&] { return seen.back().drain.has_value(); });
  EXPECT_EQ(seen.back().drain->id, "d");
  EXPECT_EQ(seen.back().drain->timeout, Duration(std::chrono::milliseconds(2500)));
  kv.erase("/service/demo/drain");
  until([&] { return !seen.back().drain.has_value(); });
}

TEST_F(FollowerTest, ItsKeySaysWhatThePoolerReports) {
  until([&] { return kv.has("/service/demo/poolers/p1"); });
  EXPECT_EQ(own_key().listen, "here:6432");
  EXPECT_FALSE(own_key().drain);
  follower->report(Term(Revision(5)), PoolerDrain{"d", true, 0, 3});
  until([&] { return own_key().drain.has_value(); });
  EXPECT_EQ(own_key().term, Term(Revision(5)));
  EXPECT_TRUE(own_key().drain->drained);
  EXPECT_EQ(own_key().drain->waiting, 3U);
}

TEST_F(FollowerTest, WithoutEtcdTheAgentsAreAsked) {
  until([&] { return !seen.empty(); });
  kv.silent = true;
  document = R"({"members":[{"name":"b","role":"leader","state":"running","host":"b","port":5432,"timeline":2}]})";
  kv.break_watches(Errc::Compacted);  // what follows is a read, which nobody answers
  until([&] { return seen.back().source == ClusterState::Source::Rest; });
  EXPECT_EQ(seen.back().leader, MemberName("b"));
  EXPECT_EQ(seen.back().term, Term());
  document.clear();
  until([&] { return seen.back().source == ClusterState::Source::Nobody; });
  EXPECT_EQ(seen.back().leader, MemberName("b"));
}

}  // namespace
}  // namespace pgvigil::follow
